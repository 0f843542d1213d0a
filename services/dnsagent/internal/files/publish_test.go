package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

// publish writes the hosts file of an owner. It fails the test if that waits for a lease.
func publish(t *testing.T, f files.Publisher, hosts string) error {
	t.Helper()
	dir, err := f.Open(owner)
	if err != nil {
		t.Fatal(err)
	}

	defer dir.Close()

	done := make(chan error, 1)
	go func() {
		_, err := dir.Publish(registration.Contents{Hosts: []byte(hosts)})
		done <- err
	}()

	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second): // the kernel breaks a lease after 45
		t.Fatal("publishing waits for the container")
		return nil
	}
}

// attacks returns changes that root in a container can make to a file mounted into it.
func attacks(t *testing.T) map[string]func(path string) {
	setFlag := func(path string, flag uint32) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		before, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		if err == nil {
			err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(before|flag))
		}
		if err != nil {
			t.Skipf("file flags: %v", err)
		}
	}

	return map[string]func(path string){
		"mode 0":         func(path string) { must(t, os.Chmod(path, 0)) },
		"2 MiB appended": func(path string) { must(t, os.Truncate(path, 2<<20)) },
		"immutable":      func(path string) { setFlag(path, 0x10) },
		"append only":    func(path string) { setFlag(path, 0x20) },
		"FIFO":           func(path string) { must(t, errors.Join(os.Remove(path), unix.Mkfifo(path, 0o644))) },
		"symlink":        func(path string) { must(t, errors.Join(os.Remove(path), os.Symlink("/dev/full", path))) },
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPublishResistsContainers(t *testing.T) {
	for name := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
			write(t, f, "before\n")
			path := f.Paths(owner).Hosts
			attacks(t)[name](path)
			if err := publish(t, f, "after\n"); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != "after\n" {
				t.Errorf("got %q", got[:min(len(got), 100)])
			}
			must(t, f.Remove(owner))
		})
	}
}

func TestPublishDoesNotWaitForLease(t *testing.T) {
	f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
	write(t, f, "before\n")
	path := f.Paths(owner).Hosts
	for name, kind := range map[string]int{"read": unix.F_RDLCK, "write": unix.F_WRLCK} {
		mode := map[string]int{"read": unix.O_RDONLY, "write": unix.O_RDWR}[name]
		fd, err := unix.Open(path, mode|unix.O_CLOEXEC, 0)
		must(t, err)
		// ignored by the Go runtime
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(unix.SIGURG)); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, kind); err != nil {
			t.Fatal(err)
		}
		if err := publish(t, f, name+"\n"); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%s lease: got %v, want EAGAIN", name, err)
		}
		write(t, f, "a new registration\n") // replaces the file for a new container
		if got := read(t, path); got != "a new registration\n" {
			t.Errorf("%s lease: got %q", name, got)
		}
		must(t, unix.Close(fd))
	}
}

func TestRemoveLeavesMountPoint(t *testing.T) {
	testns.NeedRoot(t)
	f := files.NewPublisher(filepath.Join(t.TempDir(), "dns"))
	write(t, f, "x")
	dir := filepath.Dir(f.Paths(owner).Hosts)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}

	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()

	write(t, f, "y")
	must(t, f.Remove(owner))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
