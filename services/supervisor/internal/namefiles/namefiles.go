// Package namefiles mounts a file system of bounded size for each container's name files: what a container writes into its
// /etc/hosts takes no room from the run-time root or from others.
//
// dnsagent writes the files, for which it needs no privilege; the mounts are the supervisor's.
package namefiles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

const (
	dirMode = 0o711   // as dnsagent has it
	limit   = 1 << 20 // bytes of one container, beside what a copy of the host's file takes
	inodes  = 8       // the three files, their directory, and one that takes the place of another
)

// hostsFile is copied for containers with the host's network. It can have megabytes, where it blocks advertisements.
const hostsFile = "/etc/hosts"

// Mounts are those below one directory. The zero value mounts nothing.
type Mounts struct{ root string }

// New returns the mounts below a directory, in which dnsagent has one for each container.
func New(root string) Mounts { return Mounts{root} }

func (m Mounts) path(uid string) string { return filepath.Join(m.root, uid) }

// Mount mounts a container's file system. It does nothing if that is mounted already.
func (m Mounts) Mount(uid string) error {
	if m.root == "" || m.mounted(uid) {
		return nil
	}
	if !id.Valid(uid) {
		return fault.New(fault.Invalid, subject(uid), "the container id is not one")
	}
	err := os.MkdirAll(m.path(uid), dirMode)
	if err == nil {
		err = unix.Mount("tmpfs", m.path(uid), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC,
			fmt.Sprintf("size=%d,nr_inodes=%d,mode=%o", limit+2*hostsSize(), inodes, dirMode))
	}
	if err != nil {
		return fault.New(fault.Unavailable, subject(uid), "cannot mount the file system for them",
			fault.WithCause(errors.Join(err, m.Unmount(uid))), fault.WithHint("check that the agent has CAP_SYS_ADMIN and the kernel tmpfs"))
	}
	return nil
}

func hostsSize() int64 {
	info, err := os.Stat(hostsFile)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Unmount removes a container's mount with all that is in it, and the directory. A container that still runs keeps its files.
func (m Mounts) Unmount(uid string) error {
	if m.root == "" || !id.Valid(uid) {
		return nil
	}
	for m.mounted(uid) {
		err := unix.Unmount(m.path(uid), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) {
			break // unmounted in the meantime
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, subject(uid), "cannot unmount the file system of them")
		}
	}

	// dnsagent can have written a file after the mount was gone
	return fault.Wrap(os.RemoveAll(m.path(uid)), fault.Unavailable, subject(uid), "cannot remove the directory of them")
}

// mounted reports whether a container has a mount.
func (m Mounts) mounted(uid string) bool {
	var root, at unix.Stat_t
	return unix.Stat(m.root, &root) == nil && unix.Lstat(m.path(uid), &at) == nil && root.Dev != at.Dev
}

// Mounted returns the containers that have a directory, with a mount or without.
func (m Mounts) Mounted() ([]string, error) {
	if m.root == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(m.root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() && id.Valid(e.Name()) {
			all = append(all, e.Name())
		}
	}
	return all, err
}

func subject(uid string) string { return "name files of container " + id.Short(uid) }
