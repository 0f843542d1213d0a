package beneath_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// Grafts are mounted for their opener only: the directory itself stays as it is.
func TestGraftsAreSeenByTheirOpenerOnly(t *testing.T) {
	testns.NeedRoot(t)
	base := t.TempDir()
	at, data, nested := base+"/at", base+"/data", base+"/nested"
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(data, 0o755), os.Mkdir(nested, 0o755), os.Mkdir(data+"/sub",
		0o755),
		os.WriteFile(data+"/file", []byte("data"), 0o600), os.WriteFile(nested+"/deep", []byte("nested"), 0o600),
		os.Symlink("real", at+"/link"), unix.Mount("tmpfs", at, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	if err := os.Symlink("/real", at+"/link"); err != nil {
		t.Fatal(err)
	}

	open := func(path string) int {
		t.Helper()
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	g, err := beneath.OpenGrafted(at, []beneath.Graft{{Source: open(data), Target: "/link"},
		{Source: open(nested), Target: "/link/sub", ReadOnly: true}, {Source: open(data + "/file"), Target: "/f",
			File: true}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/real/file": "data", "/real/sub/deep": "nested", "/f": "data"} {
		if got, err := g.Root.ReadFile(name, 100); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	dir, err := g.Root.OpenDir("/link/sub")
	if err != nil || !dir.IsReadOnly() || dir.SameMount(g.Root) {
		t.Errorf("read-only graft: got %v", err)
	} else {
		_ = dir.Close()
	}
	if _, err := os.Stat(at + "/real/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host sees the graft: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Unmount(at, 0); err != nil { // without a lazy unmount: nothing uses it
		t.Errorf("unmount: %v", err)
	}
	if _, err := beneath.OpenGrafted(base+"/none", nil); err == nil {
		t.Error("a missing directory: got no error")
	}
}
