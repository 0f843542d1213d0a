package rootfs

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// Unmount takes a container's mount away, at once even if something still uses it. It is no error if there is none.
func (r *RootFS) Unmount(containerID string) error {
	if !id.Valid(containerID) {
		return fault.New(fault.Invalid, subject(containerID), "the container id is not one")
	}
	// Several times over, if a crash in another version's hands has stacked them.
	for range 16 {
		err := unix.Unmount(r.Path(containerID), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // nothing is mounted there
		}
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, subject(containerID), "cannot be unmounted")
		}
	}
	return fault.New(fault.Internal, subject(containerID), "there is always one more mount on it")
}

// Remove unmounts a container's root file system and deletes all that the container has changed. It is no error if there is
// nothing.
func (r *RootFS) Remove(containerID string) error {
	if err := r.Unmount(containerID); err != nil {
		return err
	}
	home := filepath.Join(r.root, containerID)
	err := beneath.Remove(home)
	if err != nil {
		err = r.forceRemove(home)
	}
	return fault.Wrap(err, fault.Unavailable, subject(containerID), "cannot be deleted")
}

// forceRemove deals with what keeps a folder from being deleted: mounts in it, and files that are marked immutable.
func (r *RootFS) forceRemove(home string) error {
	mounts, err := mountsUnder(home)
	if err != nil {
		return err
	}
	for i := len(mounts) - 1; i >= 0; i-- { // the later stand on the earlier
		if err := unix.Unmount(mounts[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("umount "+mounts[i], err)
		}
	}
	_ = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			makeMutable(path)
		}
		return nil
	})
	return beneath.Remove(home)
}

// As in linux/fs.h.
const (
	immutableFlag  = 0x10
	appendOnlyFlag = 0x20
)

// makeMutable takes the immutable and append-only marks off a file. What it cannot do shows when the file is deleted.
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

// Mounted gives the ids of the containers whose root file systems are mounted.
func (r *RootFS) Mounted() ([]string, error) {
	mounts, err := mountsUnder(r.root)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "root file systems", "the mounts cannot be listed")
	}
	var out []string
	for _, m := range mounts {
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

// mountsUnder gives the mount points in a folder, oldest first.
func mountsUnder(dir string) ([]string, error) {
	// The thread's own, as threads can be in different mount namespaces.
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n') // as long as it is: an overlay's line names all its layers
		if line == "" && err != nil {
			return out, nil
		}
		fields := strings.SplitN(line, " ", 6)
		if len(fields) < 6 {
			continue
		}
		if at := unescape(fields[4]); strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
}

// unescape undoes the four escapes that mountinfo has for spaces, tabs, line feeds and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
