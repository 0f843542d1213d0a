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

// machineLimit is the time limit of a machine, which can be emulated on busy CPUs.
const machineLimit = 20 * time.Minute

// needVM skips the test if a required program is missing. In CI it fails the test.
func needVM(t *testing.T) {
	t.Helper()
	testns.NeedRoot(t)
	for _, program := range []string{"qemu-system-x86_64", "depmod", "apt-get", "dnsmasq", "tcpdump"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed; run make setup", program)
			}
			t.Skipf("needs %s installed", program)
		}
	}
}

// vmCommand returns a command that calls the script run.
func vmCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	needVM(t)
	// The script may have to download the kernel.
	ctx, cancel := context.WithTimeout(context.Background(), machineLimit+time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, "./run", append([]string{"-limit", machineLimit.String()}, args...)...)
}

// probeScript prints properties of the machine, changes it and exits with code 3.
const probeScript = `
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

func TestMachineIsIsolatedFromHost(t *testing.T) {
	before, err := os.ReadFile("run")
	if err != nil {
		t.Fatal(err)
	}

	out, err := vmCommand(t, "-sh", probeScript).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit code 3", err)
	}

	for _, want := range []string{"kernel 6.", "cgroup cgroup2fs 0::/system.slice/vm.service\n", "links made\n"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}

	if after, err := os.ReadFile("run"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the machine changed a file of the host: %q, %v", after, err)
	}
}

// runtimeTests selects tests of the OCI runtimes, which must work with cgroup v2 only, and some
// scripts.
const runtimeTests = "TestExecReturnsOutputAndExitCode|TestContainersAreAdoptedAfterRestart|" +
	"TestScripts/scripts/one/(s02_|s16_|nginx_smoke)"

func TestRuntimesWorkWithCgroupV2Only(t *testing.T) {
	for _, runtime := range []string{"crun", "runc"} {
		t.Run(runtime, func(t *testing.T) {
			cmd := vmCommand(t, "-v", "-run", runtimeTests, "./services/supervisor/internal/runtime", "./deploy/e2e")
			cmd.Env = append(os.Environ(), "FAIRLEAD_RUNTIME="+runtime)
			passes(t, cmd, "TestContainersAreAdoptedAfterRestart", "TestScripts/scripts/one/s16_joined_container")
		})
	}
}

// passes fails the test unless cmd passes, runs the named tests and skips none.
func passes(t *testing.T, cmd *exec.Cmd, tests ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("--- SKIP")) {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range tests {
		if !bytes.Contains(out, []byte("--- PASS: "+name)) {
			t.Errorf("%s did not pass:\n%s", name, out)
		}
	}
}

// kernelTests selects tests of features that the kernel of the host can lack: ipvlan and VLAN.
const kernelTests = "TestIPvlanDriver|TestDriverLifecycle|TestInterruptedCreationIsCompletedOrDeleted|" +
	"TestScripts/scripts/one/(ipvlan|vlan_parents|lan_dhcp_ipvlan)"

func TestDriversWorkOnStockKernel(t *testing.T) {
	cmd := vmCommand(t, "-v", "-run", kernelTests,
		"./services/netagent", "./services/netagent/internal/driver/macvlan", "./deploy/e2e")
	passes(t, cmd, "TestIPvlanDriver", "TestDriverLifecycle",
		"TestScripts/scripts/one/ipvlan_parent_flap", "TestScripts/scripts/one/ipvlan_update",
		"TestScripts/scripts/one/vlan_parents", "TestScripts/scripts/one/lan_dhcp_ipvlan")
}

func TestKilledRunStopsMachine(t *testing.T) {
	cmd := vmCommand(t, "-sh", "sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	child := ""
	eventually(t, "no machine was started", func() bool {
		child = machineOf(cmd.Process.Pid)
		return child != ""
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}

	_ = cmd.Wait()
	eventually(t, "the machine is still running", func() bool {
		name, _ := os.ReadFile(filepath.Join("/proc", child, "comm"))
		return !strings.HasPrefix(string(name), "qemu")
	})
}

// machineOf returns the process ID of the qemu child of a process, or "".
func machineOf(pid int) string {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(children)) {
			name, _ := os.ReadFile(filepath.Join("/proc", child, "comm"))
			if strings.HasPrefix(string(name), "qemu") {
				return child
			}
		}
	}
	return ""
}

func eventually(t *testing.T, message string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(machineLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal(message)
}
