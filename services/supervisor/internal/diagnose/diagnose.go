// Package diagnose tries what containers need on this host, and looks for programs that share its network with us.
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

// Facts is what the supervisor has found out at its start.
type Facts struct {
	Runtime       string // path of the default OCI runtime
	CgroupVersion string // "1", "hybrid" or "2"
	Overlay       func() error
}

// Run tries everything.
func Run(ctx context.Context, f Facts) []diagnosis.Finding {
	out := []diagnosis.Finding{{Area: containers, Name: "runtime", Text: f.Runtime + " is the default"}}
	for _, name := range []string{"crun", "runc"} {
		out = append(out, runtimeFinding(ctx, name))
	}
	out = append(out, cgroups(f.CgroupVersion),
		diagnosis.Check(containers, "overlay", "layers of images are mounted, not copied", f.Overlay(), diagnosis.Problem, "load or build it: modprobe overlay (CONFIG_OVERLAY_FS)"),
		exists(containers, "seccomp", "/proc/sys/kernel/seccomp/actions_avail", "system calls are filtered", diagnosis.Problem, "build the kernel with CONFIG_SECCOMP_FILTER"))
	return append(out, neighbours("/proc")...)
}

func cgroups(version string) diagnosis.Finding {
	f := diagnosis.Finding{Area: containers, Name: "cgroups", Text: "version " + version}
	if version != "2" {
		f.Severity, f.Hint = diagnosis.Note, "boot with systemd.unified_cgroup_hierarchy=1 for version 2 alone, which is what is tested most"
	}
	return f
}

func exists(area, name, path, works string, worst diagnosis.Severity, hint string) diagnosis.Finding {
	_, err := os.Stat(path)
	return diagnosis.Check(area, name, works, err, worst, hint)
}

// neighbour is a program that shares the host's network with us, and what that means.
type neighbour struct {
	command string
	text    string
	hint    string
}

func known() []neighbour {
	return []neighbour{
		{"dockerd", "Docker runs here too: both work at once, on bridges and ports of their own", "give our default bridge a name of its own, \"bridge\": \"fairlead0\", if both want docker0"},
		{"firewalld", "firewalld runs here: its zones filter what comes in by our bridges for the host itself, and its reload leaves our table alone", ""},
		{"ufw", "ufw runs here: published ports do not pass its rules, as with Docker", ""},
		{"libvirtd", "libvirt runs here: its bridges and rules stay as they are", ""},
		{"kubelet", "Kubernetes runs here: it owns br_netfilter's switches, which we leave alone", ""},
		{"systemd-resolve", "systemd-resolved answers names here: containers' questions go to the servers behind it", ""},
		{"NetworkManager", "NetworkManager runs here: it leaves interfaces alone that it has not made", ""},
	}
}

// neighbours looks for such programs among the processes.
func neighbours(proc string) []diagnosis.Finding {
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
			out = append(out, diagnosis.Finding{Area: others, Name: n.command, Severity: diagnosis.Note, Text: n.text, Hint: n.hint})
		}
	}
	return slices.Clip(out)
}
