package beneath_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

func TestRemoveInKeepsDirectoryWithMount(t *testing.T) {
	testns.NeedRoot(t)
	tr := newTree(t)
	deep := filepath.Join(tr.dir, "x/deep/mount")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tr.dir, "x/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	parent, err := beneath.Open(tr.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = parent.Close() }()
	if err := unix.Mount("tmpfs", deep, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	err = beneath.RemoveIn(parent.Descriptor(), "x")
	if err := unix.Unmount(deep, 0); err != nil {
		t.Fatal(err)
	}
	if _, serr := os.Stat(filepath.Join(tr.dir, "x/file")); !errors.Is(err, beneath.ErrMounted) || serr != nil {
		t.Errorf("got %v, %v, want ErrMounted and the file", err, serr)
	}

	if err := beneath.RemoveIn(parent.Descriptor(), "x"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(tr.dir, "x")); !os.IsNotExist(err) {
		t.Errorf("got %v, want nothing left", err)
	}
}

func TestRemoveDoesNotFollowSymlinks(t *testing.T) {
	tr := newTree(t)
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(tr.dir, "x")
	for i := range 2000 {
		sub := filepath.Join(dir, fmt.Sprint(i%7), "a", fmt.Sprint(i%11), ".removed-1")
		if err := errors.Join(os.MkdirAll(sub, 0o700),
			os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}

	err := errors.Join(os.Symlink(filepath.Dir(kept), filepath.Join(dir, "link")),
		os.Symlink(filepath.Dir(kept), filepath.Join(dir, "1/link")),
		syscall.Mkfifo(filepath.Join(dir, "2/fifo"), 0o600), os.Link(kept, filepath.Join(dir, "3/hard")))
	if err != nil {
		t.Fatal(err)
	}

	if err := beneath.Remove(dir); err != nil {
		t.Fatal(err)
	}

	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want nothing left", err)
	}

	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}

	if err := beneath.Remove(dir); err != nil {
		t.Errorf("second removal: %v", err)
	}

	if err := os.Symlink(filepath.Dir(kept), dir); err != nil {
		t.Fatal(err)
	}

	if err := beneath.Remove(dir); err == nil {
		t.Error("got no error for a symlink")
	}
}

// TestRemoveNeedsFewDescriptors removes a tree deeper than the descriptor limit and PATH_MAX.
func TestRemoveNeedsFewDescriptors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}

	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}

	long := strings.Repeat("d", 100)
	for range 5000 {
		if err := unix.Mkdirat(at, long, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, long, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(at)
		if at = next; err != nil {
			t.Fatal(err)
		}
	}

	_ = unix.Close(at)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}

	small := limit
	small.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &small); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }()
	if err := os.RemoveAll(dir); err == nil {
		t.Error("os.RemoveAll succeeds: the tree is not deep enough")
	}

	if err := beneath.Remove(dir); err != nil {
		t.Fatal(err)
	}

	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want nothing left", err)
	}
}
