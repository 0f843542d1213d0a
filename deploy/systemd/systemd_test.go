package systemd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// agent is the path of the binary in the units.
const agent = "/usr/bin/fairlead-agent"

// service holds the requirements of a unit.
type service struct {
	unit         string
	arguments    string
	capabilities string
	exposure     int  // limit for `systemd-analyze security`, in tenths; 100: unconfined
	mounts       bool // its mounts are visible to other processes and outlive it
	containers   bool // it starts containers
}

const supervisorCapabilities = "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER " +
	"CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID " +
	"CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_RESOURCE"

func services() []service {
	return []service{
		{unit: "fairlead-net.service", arguments: " net", exposure: 49, mounts: true,
			capabilities: "CAP_NET_ADMIN CAP_NET_BROADCAST CAP_NET_RAW CAP_SYS_ADMIN CAP_SYS_PTRACE"},
		{unit: "fairlead-nat.service", arguments: " nat", exposure: 30,
			capabilities: "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW"},
		{unit: "fairlead-dns.service", arguments: " dns", capabilities: "", exposure: 20},
		{unit: "fairlead-fleet.service", arguments: " fleet", capabilities: "", exposure: 20},
		{unit: "fairlead-engine.service", arguments: " engine --docker-hosts fd://", capabilities: "", exposure: 21},
		{unit: "fairlead-supervisor.service", arguments: " supervisor", exposure: 90, mounts: true, containers: true,
			capabilities: supervisorCapabilities},
		{unit: "fairlead.service", arguments: "", exposure: 90, mounts: true, containers: true,
			capabilities: strings.Replace(supervisorCapabilities, "CAP_NET_RAW", "CAP_NET_BROADCAST CAP_NET_RAW", 1)},
	}
}

// ownMounts lists the options that put a service into its own mount namespace; see systemd.exec(5).
// Other processes do not see the mounts of such a service.
var ownMounts = []string{
	"BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "ExtensionDirectories", "ExtensionImages",
	"InaccessiblePaths", "IPCNamespacePath", "LogNamespace", "MountAPIVFS", "MountFlags", "MountImages", "NoExecPaths",
	"PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateTmp",
	"ProcSubset", "ProtectControlGroups", "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules",
	"ProtectKernelTunables",
	"ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage",
	"TemporaryFileSystem",
}

// inherited lists the options that child processes, and so containers, inherit and cannot undo.
var inherited = []string{
	"LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "ProtectClock", "ProtectHostname",
	"RestrictAddressFamilies", "RestrictFileSystems",
	"RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures",
	"SystemCallFilter", "User", "Group", "UMask",
}

// unit is a parsed unit file: the values of each option by "Section.Option".
type unit map[string][]string

func read(t *testing.T, name string) unit {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}

	u, section := unit{}, ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		option, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case assigned:
			u[section+"."+option] = append(u[section+"."+option], value)
		default:
			t.Errorf("%s: cannot parse %q", name, line)
		}
	}

	return u
}

// words returns the sorted words of all values of an option.
func (u unit) words(option string) []string {
	words := strings.Fields(strings.Join(u[option], " "))
	slices.Sort(words)
	return words
}

// analyze runs systemd-analyze and returns its output.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze must be installed")
		}
		t.Skip("needs systemd-analyze of the package systemd")
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// verify applies edit to a unit and checks it with systemd-analyze. The other units and a binary
// are present.
func verify(t *testing.T, name string, edit func(string) string) error {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "fairlead-agent")
	if err := os.WriteFile(binary, nil, 0o755); err != nil {
		t.Fatal(err)
	}

	for _, path := range files(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), agent, binary)
		if path == name {
			text = edit(text)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	out, err := analyze(t, "verify", "--man=no", filepath.Join(dir, name))
	if err != nil || out != "" { // unknown options cause only a warning
		return fmt.Errorf("%v: %s", err, out)
	}

	return nil
}

// files returns the file names of all units.
func files(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.service")
	targets, err2 := filepath.Glob("*.target")
	sockets, err3 := filepath.Glob("*.socket")
	if err != nil || err2 != nil || err3 != nil || len(found)+len(targets) != len(services())+1 {
		t.Fatalf("units: %v %v, %v %v %v", found, targets, err, err2, err3)
	}
	return slices.Concat(found, targets, sockets)
}

func TestUnitsPassVerify(t *testing.T) {
	for _, name := range files(t) {
		if err := verify(t, name, func(text string) string { return text }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyDetectsErrors(t *testing.T) {
	for what, edit := range map[string]func(string) string{
		"unknown option": func(text string) string { return strings.Replace(text, "KillMode=", "KilMode=", 1) },
		"unknown value": func(text string) string {
			return strings.Replace(text, "KillMode=process", "KillMode=gently", 1)
		},
		"missing binary": func(text string) string {
			return strings.Replace(text, "ExecStart=/", "ExecStart=/missing/", 1)
		},
	} {
		if err := verify(t, "fairlead-supervisor.service", edit); err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
}

func TestUnitExposureWithinLimit(t *testing.T) {
	for _, s := range services() {
		path, err := filepath.Abs(s.unit)
		if err != nil {
			t.Fatal(err)
		}
		threshold := fmt.Sprintf("--threshold=%d", s.exposure)
		if out, err := analyze(t, "security", "--offline=true", threshold, path); err != nil {
			t.Errorf("%s: %v\n%s", s.unit, err, out)
		}
	}

	path, err := filepath.Abs("fairlead.service")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := analyze(t, "security", "--offline=true", "--threshold=20", path); err == nil {
		t.Error("the check ignores the threshold")
	}
}

func TestUnitOptionsAndCapabilities(t *testing.T) {
	for _, s := range services() {
		u := read(t, s.unit)
		for option, want := range map[string]string{
			"Service.Type": "notify", "Service.ExecStart": agent + s.arguments,
			"Service.ExecReload":       "/bin/kill -HUP $MAINPID",
			"Service.RuntimeDirectory": "fairlead", "Service.RuntimeDirectoryPreserve": "yes",
			"Service.StateDirectory": "fairlead", "Service.StateDirectoryMode": "0710",
		} {
			if got := u[option]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s: got %q, want %q", s.unit, option, got, want)
			}
		}
		if _, set := u["Service.CapabilityBoundingSet"]; !set {
			t.Errorf("%s: no CapabilityBoundingSet, so it has all capabilities", s.unit)
		}
		if got := strings.Join(u.words("Service.CapabilityBoundingSet"), " "); got != s.capabilities {
			t.Errorf("%s: capabilities: got %q, want %q", s.unit, got, s.capabilities)
		}
		if got := u["Service.AmbientCapabilities"]; got != nil {
			t.Errorf("%s: ambient capabilities %q, which child processes inherit", s.unit, got)
		}
	}
}

func TestUnitsShareHostMounts(t *testing.T) {
	for _, s := range services() {
		if s.mounts {
			refuse(t, s.unit, ownMounts, "hides pinned namespaces and container root file systems from other processes")
		}
	}
}

func TestContainersInheritNoRestrictions(t *testing.T) {
	for _, s := range services() {
		if !s.containers {
			continue
		}
		refuse(t, s.unit, inherited, "is inherited by every container")
		u := read(t, s.unit)
		wanted := map[string]string{
			"KillMode": "process", "Delegate": "yes", "OOMPolicy": "continue", "TasksMax": "infinity",
		}
		for option, want := range wanted {
			if got := u["Service."+option]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s: got %q, want %q, because containers outlive the agent", s.unit, option, got, want)
			}
		}
	}
}

func TestFdStoreFitsDescriptorLimit(t *testing.T) {
	const usual = 1024 // default limit on descriptors
	stores := map[string]bool{"fairlead.service": true, "fairlead-dns.service": true, "fairlead-net.service": false}
	for name, want := range stores {
		u := read(t, name)
		kept, _ := strconv.Atoi(strings.Join(u["Service.FileDescriptorStoreMax"], ""))
		limit := usual
		if set := u["Service.LimitNOFILE"]; set != nil {
			limit, _ = strconv.Atoi(set[0])
		}
		if kept > 0 != want || kept > limit-32 {
			t.Errorf("%s: FileDescriptorStoreMax is %d with a limit of %d descriptors", name, kept, limit)
		}
	}

	refuse(t, "fairlead.service", []string{"LimitNOFILE"}, "is inherited by every container")
}

// refuse fails if a unit sets one of the options. The reason follows the option in the message.
func refuse(t *testing.T, name string, options []string, reason string) {
	t.Helper()
	u := read(t, name)
	for _, option := range options {
		if _, set := u["Service."+option]; set {
			t.Errorf("%s: %s %s", name, option, reason)
		}
	}
}

func TestHostnameNotFrozenForDnsagent(t *testing.T) {
	refuse(t, "fairlead-dns.service", []string{"ProtectHostname"},
		"freezes the hostname of containers in the host network")
}

func TestTargetAndAllInOneConflict(t *testing.T) {
	var agents []string
	for _, s := range services() {
		if s.unit == "fairlead.service" {
			continue
		}
		agents = append(agents, s.unit)
		if got := read(t, s.unit)["Unit.PartOf"]; !slices.Equal(got, []string{"fairlead.target"}) {
			t.Errorf("%s: PartOf: got %q", s.unit, got)
		}
	}

	slices.Sort(agents)
	target := read(t, "fairlead.target")
	if got := target.words("Unit.Wants"); !slices.Equal(got, agents) {
		t.Errorf("Wants of the target: got %q, want %q", got, agents)
	}

	if got := target.words("Unit.Conflicts"); !slices.Equal(got, []string{"fairlead.service"}) {
		t.Errorf("Conflicts of the target: got %q", got)
	}

	all := read(t, "fairlead.service")
	if got := all.words("Unit.Conflicts"); !slices.Equal(got, append(agents, "fairlead.target")) {
		t.Errorf("Conflicts of fairlead.service: got %q", got)
	}

	for _, a := range agents { // Conflicts alone does not order units
		if !slices.Contains(all.words("Unit.After"), a) {
			t.Errorf("fairlead.service is not ordered after %s", a)
		}
	}
}
