package rootfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/mounts"
)

// Unmount unmounts a container's root file system immediately, even while it is in use. It does
// nothing if it is not mounted.
func (r *RootFS) Unmount(containerID string) error {
	if !id.Valid(containerID) {
		return fault.New(fault.Invalid, subject(containerID), "container ID is not valid")
	}

	// Repeated, because a crash of an older version can leave stacked mounts.
	for range 16 {
		err := unix.Unmount(r.Path(containerID), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // not mounted
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, subject(containerID), "cannot be unmounted")
		}
	}

	return fault.New(fault.Internal, subject(containerID), "too many stacked mounts")
}

// Remove unmounts a container's root file system and deletes the container's changes. It does
// nothing if they do not exist.
func (r *RootFS) Remove(containerID string) error {
	if err := r.Unmount(containerID); err != nil {
		return err
	}
	dir := filepath.Join(r.root, containerID)
	err := beneath.Remove(dir)
	if err != nil {
		err = r.forceRemove(dir)
	}
	return fault.Wrap(err, fault.Unavailable, subject(containerID), "cannot be deleted")
}

// forceRemove unmounts file systems and resets immutable flags below a directory, then deletes it.
func (r *RootFS) forceRemove(dir string) error {
	if err := mounts.DetachUnder(dir); err != nil {
		return err
	}

	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			makeMutable(path)
		}
		return nil
	})
	return beneath.Remove(dir)
}

// Flags of linux/fs.h.
const (
	immutableFlag  = 0x10
	appendOnlyFlag = 0x20
)

// makeMutable resets the immutable and append-only flags of a file. If it fails, so does the
// removal of the file.
func makeMutable(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&(immutableFlag|appendOnlyFlag) == 0 {
		return
	}
	_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^(immutableFlag|appendOnlyFlag)))
}

// Mounted returns the IDs of the containers whose root file systems are mounted.
func (r *RootFS) Mounted() ([]string, error) {
	all, err := mounts.Under(r.root)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "root file systems", "cannot list mounts")
	}

	var out []string
	for _, m := range all {
		rel, err := filepath.Rel(r.root, m)
		if err != nil {
			continue
		}
		uid, name := filepath.Split(rel)
		if uid = strings.TrimSuffix(uid, "/"); name == mergedName && id.Valid(uid) && !slices.Contains(out, uid) {
			out = append(out, uid)
		}
	}

	return out, nil
}
