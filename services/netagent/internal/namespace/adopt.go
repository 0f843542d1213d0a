package namespace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// ownNamespace is the network namespace of the calling thread.
const ownNamespace = "/proc/thread-self/ns/net"

// Adopt implements Keeper. The namespace must not be that of the host.
func (Host) Adopt(from, path string, optional []kernel.Sysctl) error {
	// O_NONBLOCK: opening a FIFO would wait for a writer.
	file, err := os.OpenFile(from, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := checkForeign(file); err != nil {
		return err
	}

	if err := pinFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), path); err != nil || len(optional) == 0 {
		return err
	}
	err = kernel.WithPinned(path, func(ns *kernel.Namespace) error {
		return errors.Join(ns.EnableLoopback(), ns.ApplyKnown(optional))
	})
	if err != nil {
		return errors.Join(err, kernel.Unpin(path))
	}
	return nil
}

// checkForeign returns an error if a file is not a network namespace, or is that of the host.
func checkForeign(file *os.File) error {
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return errors.New("it is not a network namespace")
	}

	var its, own unix.Stat_t
	if err := errors.Join(unix.Fstat(int(file.Fd()), &its), unix.Stat(ownNamespace, &own)); err != nil {
		return fmt.Errorf("inspect network namespace: %w", err)
	}
	if its.Ino == own.Ino && its.Dev == own.Dev {
		return errors.New("it is the network namespace of the host")
	}
	return nil
}

// Same reports whether two paths are of one namespace.
func (Host) Same(a, b string) bool {
	var one, other unix.Stat_t
	return unix.Stat(a, &one) == nil && unix.Stat(b, &other) == nil && one.Ino == other.Ino && one.Dev == other.Dev
}

// PinProcess implements Keeper. It pins the namespace of a process, to replace a lost pin.
func (Host) PinProcess(pid int, path string) error {
	from := fmt.Sprintf("/proc/%d/ns/net", pid)
	var its, own unix.Stat_t
	if err := errors.Join(unix.Stat(from, &its), unix.Stat(ownNamespace, &own)); err != nil {
		return fmt.Errorf("inspect network namespace of process %d: %w", pid, err)
	}

	if its.Ino == own.Ino {
		return fmt.Errorf("process %d is in the host's network namespace", pid)
	}

	return pinFile(from, path)
}

// pinFile pins the namespace of a file at path.
func pinFile(from, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("pin network namespace: %w", err)
	}
	_ = f.Close() // nothing was written

	if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin network namespace at %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
