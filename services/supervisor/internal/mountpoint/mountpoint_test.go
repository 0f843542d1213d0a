package mountpoint_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/mountpoint"
)

func TestPrepareCreatesRealMountPoints(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{"dev": outside, "proc": outside, "sys": outside, "etc": outside,
		"data": "/var/data"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}

	targets, err := mountpoint.Prepare(root, mountpoint.Request{NameFiles: []string{"/etc/hosts"},
		WorkingDir: "/srv/app",
		Mounts: []mountpoint.Mount{{Target: "/data"}, {Target: "/data/sub"}, {Target: "/x/file", File: true},
			{Target: "/dev/fuse", File: true}}})
	if want := []string{"/var/data", "/var/data/sub", "/x/file", "/dev/fuse"}; err != nil ||
		!slices.Equal(targets, want) {
		t.Errorf("got %v, %v, want %v", targets, err, want)
	}

	for name, isDir := range map[string]bool{"dev": true, "proc": true, "sys": true, "etc/hosts": false,
		"var/data": true, "x/file": false,
		"srv/app": true} {
		if info, err := os.Lstat(filepath.Join(root, name)); err != nil || info.IsDir() != isDir ||
			info.Mode()&os.ModeSymlink != 0 {
			t.Errorf("%s: got %v, %v", name, info, err)
		}
	}

	for _, name := range []string{"var/data/sub", "dev/fuse"} { // they belong to the file system mounted there
		if _, err := os.Lstat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s: got %v, want nothing", name, err)
		}
	}

	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v outside of the root, want nothing", left, err)
	}
}

func TestPrepareRejectsDirectoryOnFile(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}

	for _, req := range []mountpoint.Request{
		{Mounts: []mountpoint.Mount{{Target: "/file"}}},
		{Mounts: []mountpoint.Mount{{Target: "/proc", File: true}}},
		{WorkingDir: "/file"},
	} {
		if _, err := mountpoint.Prepare(root, req); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want an invalid fault", req, err)
		}
	}
}

func TestWorkingDirRejectsDescriptor(t *testing.T) {
	root := t.TempDir()
	for name, target := range map[string]string{"leak": "/proc/self/fd/7", "up": "../../proc/1/root", "two": "/leak"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}

	for dir, refused := range map[string]bool{"/leak": true, "/up": true, "/two/x": true, "/proc/self/fd/8": true,
		"/proc/self/cwd": true,
		"/dev/fd/9":      true, "/dev/shm": false, "/proc": false, "/sys/fs": false, "/srv": false, "": false} {
		if _, err := mountpoint.Prepare(root, mountpoint.Request{WorkingDir: dir}); fault.Is(err,
			fault.Invalid) != refused {
			t.Errorf("%s: got %v, want rejected %v", dir, err, refused)
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	root := b.TempDir()
	req := mountpoint.Request{NameFiles: []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}, WorkingDir: "/"}
	for b.Loop() {
		if _, err := mountpoint.Prepare(root, req); err != nil {
			b.Fatal(err)
		}
	}
}
