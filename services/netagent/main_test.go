package netagent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

func TestMain(m *testing.M) {
	if roots := os.Getenv(agentVariable); roots != "" {
		runAgentProcess(roots)
	}
	code := 0
	if err := inTempDir(func() { code = m.Run() }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// inTempDir runs tests with their own TMPDIR and returns an error if they leave a mount in it.
// Concurrent runs of the same tests use other directories.
func inTempDir(run func()) error {
	dir, err := os.MkdirTemp("", "n")
	if err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}

	run()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), " "+dir+"/") {
		return fmt.Errorf("a test left a mount in %s", dir)
	}

	return os.RemoveAll(dir)
}

func TestLeftoverMountsAreFound(t *testing.T) {
	testns.NeedRoot(t)
	base, elsewhere := os.TempDir(), t.TempDir()
	for _, own := range []bool{true, false} {
		t.Setenv("TMPDIR", base) // restored at the end of the test
		var at string
		err := inTempDir(func() {
			if at = filepath.Join(elsewhere, "pin"); own {
				at = filepath.Join(os.TempDir(), "pin")
			}
			if err := errors.Join(os.WriteFile(at, nil, 0o600),
				unix.Mount("/proc/self/ns/net", at, "", unix.MS_BIND, "")); err != nil {
				t.Fatal(err)
			}
		})
		if err := errors.Join(unix.Unmount(at, unix.MNT_DETACH), os.RemoveAll(filepath.Dir(at))); err != nil {
			t.Error(err)
		}
		if (err != nil) != own {
			t.Errorf("mount in own TMPDIR %v: got %v", own, err)
		}
	}
}
