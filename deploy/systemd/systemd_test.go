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

// agent is where the units expect the binary.
const agent = "/usr/bin/fairlead-agent"

// service is what must be so in a unit.
type service struct {
	unit         string
	arguments    string
	capabilities string
	exposure     int  // the most that `systemd-analyze security` may find, in tenths: 100 is a unit without any confinement
	mounts       bool // what it mounts is used by others, and outlives it
	containers   bool // containers come from it
}

const supervisorCapabilities = "CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD " +
	"CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_RESOURCE"

func services() []service {
	return []service{
		{unit: "fairlead-net.service", arguments: " net", capabilities: "CAP_NET_ADMIN CAP_NET_BROADCAST CAP_NET_RAW CAP_SYS_ADMIN CAP_SYS_PTRACE", exposure: 49, mounts: true},
		{unit: "fairlead-nat.service", arguments: " nat", capabilities: "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW", exposure: 30},
		{unit: "fairlead-dns.service", arguments: " dns", capabilities: "", exposure: 20},
		{unit: "fairlead-supervisor.service", arguments: " supervisor", capabilities: supervisorCapabilities, exposure: 90, mounts: true, containers: true},
		{unit: "fairlead.service", arguments: "", capabilities: strings.Replace(supervisorCapabilities, "CAP_NET_RAW", "CAP_NET_BROADCAST CAP_NET_RAW", 1), exposure: 90, mounts: true, containers: true},
	}
}

// ownMounts are the options for which systemd gives a service a mount namespace (systemd.exec(5)). Its mounts then reach nobody.
var ownMounts = []string{
	"BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "ExtensionDirectories", "ExtensionImages", "InaccessiblePaths", "IPCNamespacePath",
	"LogNamespace", "MountAPIVFS", "MountFlags", "MountImages", "NoExecPaths", "PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateTmp",
	"ProcSubset", "ProtectControlGroups", "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
	"ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage", "TemporaryFileSystem",
}

// inherited are the options that processes keep for good, through every exec, and so containers too.
var inherited = []string{
	"LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "ProtectClock", "ProtectHostname", "RestrictAddressFamilies", "RestrictFileSystems",
	"RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures", "SystemCallFilter", "User", "Group", "UMask",
}

// unit is a unit file: the values of each option, by "Section.Option".
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
			t.Errorf("%s: what is %q?", name, line)
		}
	}
	return u
}

// words are all words of an option's values, sorted.
func (u unit) words(option string) []string {
	words := strings.Fields(strings.Join(u[option], " "))
	slices.Sort(words)
	return words
}

// analyze runs systemd-analyze and gives what it printed.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze must be installed")
		}
		t.Skip("needs systemd-analyze, of the package systemd")
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// verify lets systemd read a unit among the others, as if the binary was installed, after edit has changed its text.
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
	if err != nil || out != "" { // it only warns of options that it does not know
		return fmt.Errorf("%v: %s", err, out)
	}
	return nil
}

// files are all units.
func files(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*.service")
	targets, err2 := filepath.Glob("*.target")
	if err != nil || err2 != nil || len(found)+len(targets) != len(services())+1 {
		t.Fatalf("units: %v %v, %v %v", found, targets, err, err2)
	}
	return append(found, targets...)
}

func TestSystemdFindsNothingWrongInAnyUnit(t *testing.T) {
	for _, name := range files(t) {
		if err := verify(t, name, func(text string) string { return text }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSystemdWouldFindWhatIsWrong(t *testing.T) {
	for what, edit := range map[string]func(string) string{
		"an option that does not exist": func(text string) string { return strings.Replace(text, "KillMode=", "KilMode=", 1) },
		"a value that does not exist":   func(text string) string { return strings.Replace(text, "KillMode=process", "KillMode=gently", 1) },
		"a binary that does not exist":  func(text string) string { return strings.Replace(text, "ExecStart=/", "ExecStart=/missing/", 1) },
	} {
		if err := verify(t, "fairlead-supervisor.service", edit); err == nil {
			t.Errorf("%s was not found", what)
		}
	}
}

func TestEachUnitIsAsConfinedAsItsWorkAllows(t *testing.T) {
	for _, s := range services() {
		path, err := filepath.Abs(s.unit)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := analyze(t, "security", "--offline=true", fmt.Sprintf("--threshold=%d", s.exposure), path); err != nil {
			t.Errorf("%s: %v\n%s", s.unit, err, out)
		}
	}
	path, err := filepath.Abs("fairlead.service")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := analyze(t, "security", "--offline=true", "--threshold=20", path); err == nil {
		t.Error("the check passes whatever the threshold is")
	}
}

func TestEachUnitStartsItsAgentAndHasItsCapabilitiesOnly(t *testing.T) {
	for _, s := range services() {
		u := read(t, s.unit)
		for option, want := range map[string]string{
			"Service.Type": "notify", "Service.ExecStart": agent + s.arguments,
			"Service.ExecReload":       "/bin/kill -HUP $MAINPID",
			"Service.RuntimeDirectory": "fairlead", "Service.RuntimeDirectoryPreserve": "yes",
			"Service.StateDirectory": "fairlead", "Service.StateDirectoryMode": "0710",
		} {
			if got := u[option]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", s.unit, option, got, want)
			}
		}
		if _, set := u["Service.CapabilityBoundingSet"]; !set {
			t.Errorf("%s: it has every capability", s.unit)
		}
		if got := strings.Join(u.words("Service.CapabilityBoundingSet"), " "); got != s.capabilities {
			t.Errorf("%s: capabilities %q, want %q", s.unit, got, s.capabilities)
		}
		if got := u["Service.AmbientCapabilities"]; got != nil {
			t.Errorf("%s: ambient capabilities %q, which what it starts would have too", s.unit, got)
		}
	}
}

func TestWhatOthersUseIsNotMountedOutOfTheirSight(t *testing.T) {
	for _, s := range services() {
		if s.mounts {
			refuse(t, s.unit, ownMounts, "gives it mounts of its own: pins of namespaces and containers' root file systems would be seen by nobody else")
		}
	}
}

func TestContainersInheritNoRestrictionOfTheAgents(t *testing.T) {
	for _, s := range services() {
		if !s.containers {
			continue
		}
		refuse(t, s.unit, inherited, "is inherited by every container")
		u := read(t, s.unit)
		for option, want := range map[string]string{"KillMode": "process", "Delegate": "yes", "OOMPolicy": "continue", "TasksMax": "infinity"} {
			if got := u["Service."+option]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q, as containers outlive the agent", s.unit, option, got, want)
			}
		}
	}
}

func TestTheSocketsOfResolversOutliveTheirAgentAndFitIntoItsLimit(t *testing.T) {
	const usual = 1024 // descriptors, of which the agent needs few at its start
	for name, want := range map[string]bool{"fairlead.service": true, "fairlead-dns.service": true, "fairlead-net.service": false} {
		u := read(t, name)
		kept, _ := strconv.Atoi(strings.Join(u["Service.FileDescriptorStoreMax"], ""))
		limit := usual
		if set := u["Service.LimitNOFILE"]; set != nil {
			limit, _ = strconv.Atoi(set[0])
		}
		if kept > 0 != want || kept > limit-32 {
			t.Errorf("%s: %d descriptors are kept, with a limit of %d", name, kept, limit)
		}
	}
	refuse(t, "fairlead.service", []string{"LimitNOFILE"}, "is inherited by every container")
}

func refuse(t *testing.T, name string, options []string, reason string) {
	t.Helper()
	u := read(t, name)
	for _, option := range options {
		if _, set := u["Service."+option]; set {
			t.Errorf("%s: %s %s", name, option, reason)
		}
	}
}

func TestTheHostsNameIsNotFrozenForDnsagent(t *testing.T) {
	refuse(t, "fairlead-dns.service", []string{"ProtectHostname"}, "freezes the name that containers with the host's network get")
}

func TestTheTargetWantsEveryAgentAndTheAllInOneExcludesThem(t *testing.T) {
	var agents []string
	for _, s := range services() {
		if s.unit == "fairlead.service" {
			continue
		}
		agents = append(agents, s.unit)
		if got := read(t, s.unit)["Unit.PartOf"]; !slices.Equal(got, []string{"fairlead.target"}) {
			t.Errorf("%s is part of %q", s.unit, got)
		}
	}
	slices.Sort(agents)
	target := read(t, "fairlead.target")
	if got := target.words("Unit.Wants"); !slices.Equal(got, agents) {
		t.Errorf("the target wants %q, not %q", got, agents)
	}
	if got := target.words("Unit.Conflicts"); !slices.Equal(got, []string{"fairlead.service"}) {
		t.Errorf("the target conflicts with %q", got)
	}
	all := read(t, "fairlead.service")
	if got := all.words("Unit.Conflicts"); !slices.Equal(got, append(agents, "fairlead.target")) {
		t.Errorf("the all-in-one conflicts with %q", got)
	}
	for _, a := range agents { // a conflict orders nothing by itself
		if !slices.Contains(all.words("Unit.After"), a) {
			t.Errorf("the all-in-one does not wait until %s has stopped", a)
		}
	}
}
