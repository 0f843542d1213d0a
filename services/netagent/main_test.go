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
		beAgent(roots)
	}
	code := 0
	if err := inOwnFolder(func() { code = m.Run() }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// inOwnFolder runs tests with a folder for temporary files that is theirs alone, and finds mounts that they leave in it. Where others run
// the same tests meanwhile, theirs are elsewhere.
func inOwnFolder(run func()) error {
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
		return fmt.Errorf("a test has left a mount in %s", dir)
	}
	return os.RemoveAll(dir)
}

func TestLeftoverMountsAreFound(t *testing.T) {
	testns.NeedRoot(t)
	base, elsewhere := os.TempDir(), t.TempDir()
	for _, own := range []bool{true, false} {
		t.Setenv("TMPDIR", base) // and is put back at the end
		var at string
		err := inOwnFolder(func() {
			if at = filepath.Join(elsewhere, "pin"); own {
				at = filepath.Join(os.TempDir(), "pin")
			}
			if err := errors.Join(os.WriteFile(at, nil, 0o600), unix.Mount("/proc/self/ns/net", at, "", unix.MS_BIND, "")); err != nil {
				t.Fatal(err)
			}
		})
		if err := errors.Join(unix.Unmount(at, unix.MNT_DETACH), os.RemoveAll(filepath.Dir(at))); err != nil {
			t.Error(err)
		}
		if (err != nil) != own {
			t.Errorf("its own %v: %v", own, err)
		}
	}
}
