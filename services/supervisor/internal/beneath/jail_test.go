package beneath_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

func TestJailConfinesPaths(t *testing.T) {
	testns.NeedRoot(t)
	tr := newTree(t)
	tr.symlink(tr.outside, "out")
	if err := os.MkdirAll(filepath.Join(tr.dir, tr.outside), 0o755); err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	for range 20 { // one of them may start on the main thread
		all.Go(func() {
			err := beneath.Jail(tr.dir, func() error {
				return errors.Join(os.WriteFile("/out/file", nil, 0o644),
					os.WriteFile("../../../.."+tr.outside+"/file", nil, 0o644))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}

	all.Wait()
	if _, err := os.Lstat(filepath.Join(tr.dir, tr.outside, "file")); err != nil {
		t.Error(err)
	}

	for _, task := range []string{"self", "thread-self"} {
		if root, err := os.Readlink("/proc/" + task + "/root"); err != nil || root != "/" {
			t.Errorf("got root %s, %v, want /", root, err)
		}
	}
}

func TestJailReturnsErrorsAndPanics(t *testing.T) {
	testns.NeedRoot(t)
	want := errors.New("mine")
	if err := beneath.Jail(t.TempDir(), func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err := beneath.Jail(t.TempDir(), func() error { panic("boom") }); err == nil ||
		!strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v, want boom", err)
	}
	if err := beneath.Jail("/nosuch", func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}
