package namefiles_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/namefiles"
)

func TestMountIsBoundedPerContainer(t *testing.T) {
	testns.NeedRoot(t)
	root := filepath.Join(t.TempDir(), "dns")
	m := namefiles.New(root)
	full, other := id.New(), id.New()
	for _, uid := range []string{full, other, full} {
		if err := m.Mount(uid); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Unmount(uid) })
	}

	file, err := os.Create(filepath.Join(root, full, "hosts"))
	if err != nil {
		t.Fatal(err)
	}

	defer file.Close()

	written := 0
	for err == nil && written < 64<<20 {
		n := 0
		n, err = file.Write(make([]byte, 1<<16))
		written += n
	}

	if !errors.Is(err, unix.ENOSPC) || written > 16<<20 {
		t.Errorf("got %d bytes written, %v", written, err)
	}

	if err := os.WriteFile(filepath.Join(root, other, "hosts"), []byte("x"), 0o644); err != nil {
		t.Errorf("file of another container: %v", err)
	}

	if got, err := m.Mounted(); err != nil || len(got) != 2 || !slices.Contains(got, full) {
		t.Errorf("mounted: got %v, %v", got, err)
	}

	for _, uid := range []string{full, full, other} {
		if err := m.Unmount(uid); err != nil {
			t.Error(err)
		}
	}

	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("after unmount: got %v, %v", left, err)
	}
}

// dnsagent can write a file after the mount is gone. Unmount removes it, too, and reports no owner
// afterwards.
func TestUnmountRemovesLeftFiles(t *testing.T) {
	testns.NeedRoot(t)
	root := filepath.Join(t.TempDir(), "dns")
	m := namefiles.New(root)
	for name, mounted := range map[string]bool{"unmounted by another program": true, "never mounted": false} {
		uid := id.New()
		dir := filepath.Join(root, uid)
		err := os.MkdirAll(dir, 0o711)
		if mounted {
			err = errors.Join(err, m.Mount(uid), unix.Unmount(dir, unix.MNT_DETACH))
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "hosts"), []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}

		if got, err := m.Mounted(); err != nil || !slices.Equal(got, []string{uid}) {
			t.Errorf("%s: got owners %v, %v", name, got, err)
		}
		if err := m.Unmount(uid); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := m.Mounted(); err != nil || len(got) > 0 {
			t.Errorf("%s: got owners %v after unmount, %v", name, got, err)
		}
	}
}

func TestZeroMountsDoNothing(t *testing.T) {
	var m namefiles.Mounts
	got, err := m.Mounted()
	if err := errors.Join(err, m.Mount(id.New()), m.Unmount(id.New())); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
