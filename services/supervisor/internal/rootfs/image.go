package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

func (r *RootFS) imageDir(containerID string, n int) string {
	return filepath.Join(r.root, containerID, "image-"+strconv.Itoa(n))
}

// MountImage mounts layers, lowest first, read-only for a container and returns the mount point. n
// numbers the images of the container. It does nothing if it is already mounted.
func (r *RootFS) MountImage(containerID string, n int, lowers []string) (string, error) {
	dir := filepath.Join(r.root, containerID)
	at, empty := r.imageDir(containerID, n), filepath.Join(dir, emptyName)
	if mounted, err := isMount(dir, at); err == nil && mounted {
		return at, nil
	}

	if err := errors.Join(os.MkdirAll(at, 0o755), os.MkdirAll(empty, 0o755)); err != nil {
		return "", mountFault(subject(containerID), "cannot create a mount point for an image", err)
	}

	// The empty layer makes two, as overlayfs needs without a writable directory. The mount is read-only.
	o := overlay{lowers: topmostFirst(append([]string{empty}, lowers...))}
	if err := o.mount(at); err != nil {
		return "", mountFault(subject(containerID), "cannot mount an image", o.explain(err))
	}

	return at, nil
}

// UnmountImages unmounts the first n images of a container. It does nothing for those that are not
// mounted.
func (r *RootFS) UnmountImages(containerID string, n int) error {
	var errs []error
	for i := range n {
		err := unix.Unmount(r.imageDir(containerID, i), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fault.Wrap(err, fault.Unavailable, subject(containerID), "cannot unmount an image"))
		}
	}
	return errors.Join(errs...)
}
