package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// inNamespace is set in the process that runs the tests, with the path of fairlead-store.
const inNamespace = "FLEET_TEST_STORE"

// Each test has a network of its own, 10.7.TEST.0/24, so that tests run at the same time.
const (
	maxTests = 64
	maxHosts = 10
)

// networks numbers the networks of tests by their names.
var networks = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

// network returns the number of a test's network.
func network(t testing.TB) int {
	t.Helper()
	networks.Lock()
	defer networks.Unlock()
	if _, ok := networks.of[t.Name()]; !ok {
		networks.of[t.Name()] = len(networks.of)
	}
	return networks.of[t.Name()] % maxTests
}

// waitLimit limits the wait for a condition on a loaded machine.
const waitLimit = 2 * time.Minute

// eventually waits until a condition holds, and reports whether it does in time.
func eventually(holds func() bool) bool {
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > waitLimit {
			return false
		}
	}
	return true
}

// TestMain runs the tests in a network namespace with an address for each host.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	code, err := rerun()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// rerun runs this program again in a namespace.
func rerun() (int, error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	store := filepath.Join(dir, "fairlead-store")
	build := exec.Command("go", "build", "-o", store, "github.com/fairlead/fairlead/services/cmd/fairlead-store")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build fairlead-store: %w\n%s", err, out)
	}

	var addresses strings.Builder
	for net := range maxTests {
		for n := 1; n <= maxHosts; n++ {
			fmt.Fprintf(&addresses, "addr add 10.7.%d.%d/32 dev lo\n", net, n)
		}
	}
	batch := filepath.Join(dir, "addresses")
	if err := os.WriteFile(batch, []byte(addresses.String()), 0o600); err != nil {
		return 1, err
	}
	setUp := "ip link set lo up; ip -batch " + batch + "; exec \"$@\""
	// The tests wait for most of their time: for leases, elections, and the store's own delays.
	args := append([]string{"-ec", setUp, "sh", must(os.Executable()), "-test.parallel=6"}, os.Args[1:]...)
	cmd := exec.Command("sh", args...)
	cmd.Env = append(os.Environ(), inNamespace+"="+store)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(s)
}
