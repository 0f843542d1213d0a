package mounts_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/mounts"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// hide mounts a file system over a directory, which hides what is mounted below.
func hide(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

func TestDetachUnderWithoutPath(t *testing.T) {
	dir := t.TempDir()
	build := filepath.Join(dir, "build")
	gone, file := filepath.Join(build, "gone"), filepath.Join(build, "file", "in")
	left, moved := filepath.Join(dir, "left"), filepath.Join(build, "left")
	testmnt.Do(t, func() {
		for _, at := range []string{left, gone, file} {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			hide(t, at)
		}
		open, err := os.Open(left)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()

		hide(t, dir)
		if err := errors.Join(os.MkdirAll(moved, 0o755), os.Symlink(build, filepath.Join(dir, "link"))); err != nil {
			t.Fatal(err)
		}
		from := fmt.Sprintf("/proc/thread-self/fd/%d", open.Fd())
		if err := unix.Mount(from, moved, "", unix.MS_MOVE, ""); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(build, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}

		err = mounts.DetachUnder(filepath.Join(dir, "link"))
		if !errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOENT) {
			t.Errorf("got %v, want no error for %s, and one for %s", err, gone, file)
		}
		if got, err := mounts.Under(build); err != nil || slices.Contains(got, moved) {
			t.Errorf("%s is left: got %v, %v", moved, got, err)
		}
	})
}

func TestDetachUnder(t *testing.T) {
	dir := t.TempDir()
	testmnt.Do(t, func() {
		other, outer := filepath.Join(dir, "build2"), filepath.Join(dir, "build", "a b")
		inner := filepath.Join(outer, "in")
		for _, at := range []string{other, outer, inner, inner} { // the last hides the one before
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}
		busy, err := os.Create(filepath.Join(inner, "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Close()

		if got, err := mounts.Under(filepath.Join(dir, "build")); err != nil ||
			!slices.Equal(got, []string{outer, inner, inner}) {
			t.Errorf("got %v, %v", got, err)
		}
		if err := mounts.DetachUnder(filepath.Join(dir, "build")); err != nil {
			t.Error(err)
		}
		if got, err := mounts.Under(dir); err != nil || !slices.Equal(got, []string{other}) {
			t.Errorf("got %v, %v; want the other mount only", got, err)
		}
		if err := mounts.DetachUnder(filepath.Join(dir, "nosuch")); err != nil {
			t.Error(err)
		}
	})
}
