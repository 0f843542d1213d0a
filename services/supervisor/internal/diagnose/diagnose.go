// Package diagnose checks the host features that containers need, and finds other programs that
// manage the host's network. It changes nothing. Package supervisor calls it for `fairlead system
// doctor`.
package diagnose

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/diagnosis"
)

const (
	containers = "containers"
	others     = "other programs"
)

// Facts holds what the supervisor detected at its start.
type Facts struct {
	Runtime       string // path of the default OCI runtime
	CgroupVersion string // "1", "hybrid" or "2"
	Overlay       func() error
}

// Run runs all checks.
func Run(ctx context.Context, f Facts) []diagnosis.Finding {
	out := []diagnosis.Finding{{Area: containers, Name: "runtime", Text: f.Runtime + " is the default"}}
	for _, name := range []string{"crun", "runc"} {
		out = append(out, runtimeFinding(ctx, name))
	}
	out = append(out, cgroups(f.CgroupVersion),
		diagnosis.Check(containers, "overlay", "image layers are mounted, not copied", f.Overlay(), diagnosis.Problem,
			"load the module with modprobe overlay, or build the kernel with CONFIG_OVERLAY_FS"),
		exists(containers, "seccomp", "/proc/sys/kernel/seccomp/actions_avail", "system calls are filtered",
			diagnosis.Problem, "build the kernel with CONFIG_SECCOMP_FILTER"))
	return append(out, otherPrograms("/proc")...)
}

func cgroups(version string) diagnosis.Finding {
	f := diagnosis.Finding{Area: containers, Name: "cgroups", Text: "version " + version}
	if version != "2" {
		f.Severity, f.Hint = diagnosis.Note,
			"boot with systemd.unified_cgroup_hierarchy=1 for cgroups v2, which is tested most"
	}
	return f
}

func exists(area, name, path, works string, worst diagnosis.Severity, hint string) diagnosis.Finding {
	_, err := os.Stat(path)
	return diagnosis.Check(area, name, works, err, worst, hint)
}

// otherProgram is a program that also manages the host's network.
type otherProgram struct {
	command string
	text    string
	hint    string
}

func known() []otherProgram {
	return []otherProgram{
		{"dockerd", "Docker is running: both work concurrently, with separate bridges and ports",
			"set \"bridge\": \"fairlead0\" if both use docker0"},
		{"firewalld", "firewalld is running: its zones filter traffic from bridges to the host", ""},
		{"ufw", "ufw is running: published ports bypass its rules, as in Docker", ""},
		{"libvirtd", "libvirt is running: its bridges and rules are unchanged", ""},
		{"kubelet", "Kubernetes is running: it owns the br_netfilter sysctls, which are unchanged", ""},
		{"systemd-resolve", "systemd-resolved is running: queries of containers go to its upstream servers", ""},
		{"NetworkManager", "NetworkManager is running: it ignores interfaces that it has not created", ""},
	}
}

// otherPrograms finds such programs among the running processes.
func otherPrograms(proc string) []diagnosis.Finding {
	running := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "comm"))
	for _, file := range files {
		if name, err := os.ReadFile(file); err == nil {
			running[strings.TrimSpace(string(name))] = true
		}
	}

	var out []diagnosis.Finding
	for _, n := range known() {
		if running[n.command] {
			out = append(out, diagnosis.Finding{Area: others, Name: n.command, Severity: diagnosis.Note, Text: n.text,
				Hint: n.hint})
		}
	}

	return slices.Clip(out)
}
