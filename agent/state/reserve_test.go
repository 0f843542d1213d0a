package state_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/agent/test/testns"
)

// TestCommitsGoOnWhenDiskIsFull fills a small file system next to a store. It runs itself in a
// mount namespace of its own.
func TestCommitsGoOnWhenDiskIsFull(t *testing.T) {
	testns.NeedRoot(t)
	const inside = "STATE_TEST_FULL_DISK"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCommitsGoOnWhenDiskIsFull$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("full", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	table := pets()
	db := open(t, filepath.Join(dir, "state.db"), table)
	fill(t, filepath.Join(dir, "big"))
	for n := range 500 {
		err := db.Update(func(tx *state.Tx) error { return table.Put(tx, &pet{ID: strconv.Itoa(n)}) })
		if err != nil {
			t.Fatalf("commit %d: %v", n, err)
		}
	}
}

// fill writes a file until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
