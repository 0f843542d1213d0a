package sharedmem

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountAndUnmountAreIdempotent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shm")
	for range 2 {
		if err := Mount(dir, 1<<20); err != nil {
			t.Fatal(err)
		}
	}

	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Blocks*uint64(fs.Bsize) != 1<<20 {
		t.Errorf("got %+v, %v, want a tmpfs of 1 MiB", fs, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode()&0o1777 == 0 || info.Mode()&os.ModeSticky == 0 {
		t.Errorf("got mode %v, %v, want 1777", info.Mode(), err)
	}

	for range 2 {
		if err := Unmount(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("got %v, want no directory", err)
	}
}
