// Package namefiles mounts a tmpfs of bounded size for the name files of each container, so that a
// container that writes to /etc/hosts cannot fill the run-time directory. It does not write the
// files: dnsagent does, which needs no privileges for it. Package run calls it.
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
	dirMode = 0o711   // the mode that dnsagent uses
	limit   = 1 << 20 // bytes of one container, in addition to a copy of the host's file
	inodes  = 8       // three files, their directory and a temporary file
)

// hostsFile is copied for containers in host mode. It can have megabytes if it blocks
// advertisements.
const hostsFile = "/etc/hosts"

// Mounts manages the mounts below one directory. The zero value mounts nothing.
type Mounts struct{ root string }

// New returns the Mounts below a directory, in which dnsagent has one directory for each container.
func New(root string) Mounts { return Mounts{root} }

func (m Mounts) path(uid string) string { return filepath.Join(m.root, uid) }

// Mount mounts the file system of a container. It does nothing if it is mounted.
func (m Mounts) Mount(uid string) error {
	if m.root == "" || m.mounted(uid) {
		return nil
	}

	if !id.Valid(uid) {
		return fault.New(fault.Invalid, subject(uid), "container ID is not valid")
	}

	err := os.MkdirAll(m.path(uid), dirMode)
	if err == nil {
		err = unix.Mount("tmpfs", m.path(uid), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC,
			fmt.Sprintf("size=%d,nr_inodes=%d,mode=%o", limit+2*hostsSize(), inodes, dirMode))
	}

	if err != nil {
		return fault.New(fault.Unavailable, subject(uid), "cannot mount tmpfs",
			fault.WithCause(errors.Join(err, m.Unmount(uid))),
			fault.WithHint("check that the agent has CAP_SYS_ADMIN and the kernel supports tmpfs"))
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

// Unmount unmounts the file system of a container and removes its directory. A running container
// keeps its files.
func (m Mounts) Unmount(uid string) error {
	if m.root == "" || !id.Valid(uid) {
		return nil
	}
	for m.mounted(uid) {
		err := unix.Unmount(m.path(uid), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) {
			break // unmounted meanwhile
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, subject(uid), "cannot unmount tmpfs")
		}
	}

	// dnsagent can have written a file after the mount was gone
	return fault.Wrap(os.RemoveAll(m.path(uid)), fault.Unavailable, subject(uid), "cannot remove directory")
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
