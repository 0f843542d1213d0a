// Package sharedmem mounts the tmpfs of containers whose IPC namespace other containers can join.
// The tmpfs is on the host, so that it can be mounted at /dev/shm of several containers. Package
// launch calls it. It does not depend on containers.
package sharedmem

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Mount mounts a tmpfs of the given size in bytes at a directory, which it creates. It does nothing
// if one is mounted.
func Mount(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(dir, "cannot be created", err)
	}
	if mounted, err := isMounted(dir); mounted || err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("shm", dir, "tmpfs", flags, fmt.Sprintf("mode=1777,size=%d", size)); err != nil {
		return failed(dir, "cannot be mounted", err)
	}
	return nil
}

// Unmount unmounts the tmpfs and removes the directory. It does nothing if they do not exist.
func Unmount(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return failed(dir, "cannot be unmounted", err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failed(dir, "cannot be removed", err)
	}
	return nil
}

// isMounted reports whether a tmpfs is mounted at a directory.
func isMounted(dir string) (bool, error) {
	var own, parent unix.Stat_t
	if err := errors.Join(unix.Lstat(dir, &own), unix.Lstat(dir+"/..", &parent)); err != nil {
		return false, failed(dir, "cannot be read", err)
	}
	return own.Dev != parent.Dev, nil
}

func failed(dir, message string, err error) error {
	return fault.New(fault.Unavailable, "shared memory "+dir, message, fault.WithCause(err))
}
