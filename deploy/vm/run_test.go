package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// patience is for a machine that is emulated on processors that have other work too.
const patience = 10 * time.Minute

// needLab skips a test where there can be no machine; under CI it fails it.
func needLab(t *testing.T) {
	t.Helper()
	testns.NeedRoot(t)
	for _, program := range []string{"qemu-system-x86_64", "depmod", "apt-get", "dnsmasq", "tcpdump"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("this test needs %s installed; make setup does that", program)
			}
			t.Skipf("needs %s installed", program)
		}
	}
}

// lab prepares the script run as a user calls it.
func lab(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	needLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Minute) // the kernel may have to be fetched
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, "./run", append([]string{"-limit", patience.String()}, args...)...)
}

// visit looks at the machine from inside, and ends with a code of its own.
const visit = `
set -e
echo "kernel $(uname -r)"
echo "cgroup $(stat -f -c %T /sys/fs/cgroup) $(cat /proc/self/cgroup)"
echo changed >deploy/vm/run
ip netns add n
ip link add e0 type veth peer name e1
ip link set e0 up
ip link add link e0 name e0.10 type vlan id 10
ip link add link e0 name i0 netns n type ipvlan mode l3
ip link add link e0.10 name m0 netns n type macvlan mode bridge
ip link add w0 type wireguard
ip link add d0 type dummy
echo links made
exit 3
`

func TestTheMachineIsAsUsersHaveItAndChangesNothingHere(t *testing.T) {
	before, err := os.ReadFile("run")
	if err != nil {
		t.Fatal(err)
	}
	out, err := lab(t, "-sh", visit).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3", err)
	}
	for _, want := range []string{"kernel 6.", "cgroup cgroup2fs 0::/system.slice/vm.service\n", "links made\n"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in what it printed:\n%s", want, out)
		}
	}
	if after, err := os.ReadFile("run"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what the machine wrote is here: %q, %v", after, err)
	}
}

// proof are tests of the container runtimes, which cgroups in version 2 alone must be enough for, and a few stories that they are in.
const proof = "TestExecReturnsOutputAndExitCode|TestContainersAreAdoptedAfterRestart|TestScripts/scripts/one/(s02_|s16_|nginx_main_job)"

func TestContainersRunWithCgroupsInVersion2OnlyByEitherRuntime(t *testing.T) {
	for _, runtime := range []string{"crun", "runc"} {
		t.Run(runtime, func(t *testing.T) {
			cmd := lab(t, "-v", "-run", proof, "./services/supervisor/internal/runtime", "./deploy/e2e")
			cmd.Env = append(os.Environ(), "FAIRLEAD_RUNTIME="+runtime)
			passes(t, cmd, "TestContainersAreAdoptedAfterRestart", "TestScripts/scripts/one/s16_joined_container")
		})
	}
}

// passes fails the test unless a run of tests passes, with these among them and none skipped.
func passes(t *testing.T, cmd *exec.Cmd, tests ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("--- SKIP")) {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range tests {
		if !bytes.Contains(out, []byte("--- PASS: "+name)) {
			t.Errorf("%s has not passed:\n%s", name, out)
		}
	}
}

// lacking are tests of what other machines' kernels may be unable to do: ipvlan and VLANs.
const lacking = "TestIPvlanDriver|TestDriverLifecycle|TestInterruptedCreationIsCompletedOrDeleted|TestScripts/scripts/one/(ipvlan|vlan_parents|lan_dhcp_ipvlan)"

func TestWhatOtherKernelsLackWorksOnAStockKernel(t *testing.T) {
	passes(t, lab(t, "-v", "-run", lacking, "./services/netagent", "./services/netagent/internal/driver/macvlan", "./deploy/e2e"),
		"TestIPvlanDriver", "TestDriverLifecycle", "TestScripts/scripts/one/ipvlan_parent_goes_and_comes", "TestScripts/scripts/one/ipvlan_edit", "TestScripts/scripts/one/vlan_parents", "TestScripts/scripts/one/lan_dhcp_ipvlan")
}

func TestAKilledRunTakesItsMachineWithIt(t *testing.T) {
	cmd := lab(t, "-sh", "sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := ""
	eventually(t, "it starts no machine", func() bool {
		child = machineOf(cmd.Process.Pid)
		return child != ""
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the machine is left", func() bool {
		name, _ := os.ReadFile(filepath.Join("/proc", child, "comm"))
		return !strings.HasPrefix(string(name), "qemu")
	})
}

// machineOf is the process id of the qemu that a process has started; empty if there is none.
func machineOf(pid int) string {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(children)) {
			if name, _ := os.ReadFile(filepath.Join("/proc", child, "comm")); strings.HasPrefix(string(name), "qemu") {
				return child
			}
		}
	}
	return ""
}

func eventually(t *testing.T, complaint string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal(complaint)
}
