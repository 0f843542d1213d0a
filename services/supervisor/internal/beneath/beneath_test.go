package beneath_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// tree is a root with untrusted content, and a directory outside that must stay empty.
type tree struct {
	*testing.T
	root    *beneath.Root
	dir     string
	outside string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{T: t, dir: t.TempDir(), outside: t.TempDir()}
	var err error
	if tr.root, err = beneath.Open(tr.dir); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = tr.root.Close()
		if left, err := os.ReadDir(tr.outside); err != nil || len(left) > 0 {
			t.Errorf("got %v, %v outside of the root, want nothing", left, err)
		}
	})
	return tr
}

func (t *tree) symlink(target, name string) {
	t.Helper()
	path := filepath.Join(t.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureRealReplacesSymlinks(t *testing.T) {
	tr := newTree(t)
	tr.symlink(tr.outside, "dev")
	tr.symlink("../../../../.."+tr.outside, "sys")
	tr.symlink(tr.outside, "etc")
	tr.symlink(tr.outside+"/file", "run/file")
	if err := os.WriteFile(filepath.Join(tr.dir, "proc"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}

	for name, kind := range map[string]beneath.Kind{"dev": beneath.Directory, "sys": beneath.Directory,
		"proc":      beneath.Directory,
		"etc/hosts": beneath.File, "run/file": beneath.File} {
		if err := tr.root.EnsureReal(name, kind); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(filepath.Join(tr.dir, name))
		if err != nil || info.IsDir() != (kind == beneath.Directory) || info.Mode()&os.ModeSymlink != 0 {
			t.Errorf("%s: got %v, %v", name, info, err)
		}
	}
}

func TestEnsureRealKeepsRealFiles(t *testing.T) {
	tr := newTree(t)
	hosts := filepath.Join(tr.dir, "etc/hosts")
	err := errors.Join(os.Mkdir(filepath.Join(tr.dir, "etc"), 0o700), os.WriteFile(hosts, []byte("kept"), 0o600))
	if err := errors.Join(err, tr.root.EnsureReal("/etc/hosts", beneath.File)); err != nil {
		t.Fatal(err)
	}

	if got, err := os.ReadFile(hosts); err != nil || string(got) != "kept" {
		t.Errorf("got %q, %v", got, err)
	}

	if err := tr.root.EnsureReal("etc", beneath.File); !errors.Is(err, beneath.ErrKind) {
		t.Errorf("a directory for a file: got %v, want ErrKind", err)
	}
}

func TestEnsureResolvesBelowRoot(t *testing.T) {
	tr := newTree(t)
	tr.symlink("/var/run", "run")
	tr.symlink("../../../../../../etc", "var/up")
	tr.symlink("loop", "loop")
	tr.symlink(tr.outside, "out")
	tr.symlink("/proc/self/fd/7", "leak")
	for name, want := range map[string]string{
		"/a/b/c":       "/a/b/c",
		"/run/x":       "/var/run/x",
		"/var/up/x":    "/etc/x",
		"/out/x":       tr.outside + "/x",
		"/a/../../../": "/",
		"/proc/1/root": "/proc/1/root",
		"/leak":        "/proc/self/fd/7",
	} {
		if got, err := tr.root.Ensure(name, beneath.Directory, "/proc"); err != nil || got != want {
			t.Errorf("Ensure(%s): got %s, %v, want %s", name, got, err, want)
		}
	}

	if _, err := os.Lstat(filepath.Join(tr.dir, "proc/self")); !os.IsNotExist(err) {
		t.Errorf("got %v, want nothing created below a stop", err)
	}

	if _, err := tr.root.Ensure("/loop/x", beneath.Directory); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: got %v, want ELOOP", err)
	}

	if _, err := tr.root.Ensure("/a", beneath.File); !errors.Is(err, beneath.ErrKind) {
		t.Errorf("a directory for a file: got %v, want ErrKind", err)
	}
}

func TestReadFileRejectsIrregularFiles(t *testing.T) {
	tr := newTree(t)
	secret := filepath.Join(t.TempDir(), "secret")
	err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600),
		syscall.Mkfifo(filepath.Join(tr.dir, "fifo"), 0o600),
		os.WriteFile(filepath.Join(tr.dir, "file"), []byte("0123456789"), 0o600))
	if err != nil {
		t.Fatal(err)
	}

	tr.symlink(secret, "absolute")
	tr.symlink("../../../../../../../.."+secret, "relative")
	tr.symlink("/proc/self/environ", "magic")
	tr.symlink("/file", "link")
	for name, want := range map[string]error{"fifo": beneath.ErrNotRegular, ".": beneath.ErrNotRegular,
		"absolute": os.ErrNotExist,
		"relative": os.ErrNotExist, "magic": os.ErrNotExist} {
		if got, err := tr.root.ReadFile(name, 100); !errors.Is(err, want) {
			t.Errorf("%s: got %q, %v, want %v", name, got, err, want)
		}
	}

	if got, err := tr.root.ReadFile("/link", 10); err != nil || string(got) != "0123456789" {
		t.Errorf("symlink inside the root: got %q, %v", got, err)
	}

	if _, err := tr.root.ReadFile("file", 9); !errors.Is(err, beneath.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestReadFileDoesNotWaitForLease(t *testing.T) {
	tr := newTree(t)
	f, err := os.Create(filepath.Join(tr.dir, "leased"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip(err)
	}

	done := make(chan error, 1)
	go func() { _, err := tr.root.ReadFile("leased", 10); done <- err }()
	if err := <-done; !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %v, want EAGAIN", err)
	}
}
