package fleet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inNamespace is set in the process that runs the tests, with the path of fairlead-store.
const inNamespace = "FLEET_TEST_STORE"

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

	setUp := "ip link set lo up; for n in 1 2 3 4; do ip addr add 10.7.0.$n/32 dev lo; done; exec \"$@\""
	cmd := exec.Command("sh", append([]string{"-ec", setUp, "sh", "/proc/self/exe"}, os.Args[1:]...)...)
	cmd.Args[4] = must(os.Executable())
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
