// Package rootfs makes containers' root file systems: a writable folder over an image's layers, by overlayfs.
//
//	<root>/<container id>/upper   what the container has changed
//	<root>/<container id>/work    overlayfs's own
//	<root>/<container id>/merged  where the mount is
//
// It knows nothing of images and of what else is mounted into a container. The writable folder outlives the mount, so a
// stopped container finds its files again.
package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

const (
	upperName  = "upper"
	workName   = "work"
	mergedName = "merged"
	emptyName  = "empty" // stands in for the layers of an image that has none
)

// The mode of a container's directory: closed, as images hold set-uid programs. Disposable is its mark until a process has
// run in it; package run has its meaning.
const (
	DirectoryMode fs.FileMode = 0o700
	Disposable                = fs.ModeSticky
)

// RootFS makes root file systems under one folder. Calls for one container must not overlap; those for different ones may.
type RootFS struct{ root string }

// New gives the root file systems under a folder, which need not be there yet.
func New(root string) *RootFS { return &RootFS{root: root} }

// Path is where a container's root file system is, when it is mounted.
func (r *RootFS) Path(containerID string) string {
	return filepath.Join(r.root, containerID, mergedName)
}

// Mount mounts a container's root file system over layers, lowest first, and answers where. Mounted already, it is left so.
func (r *RootFS) Mount(ctx context.Context, containerID string, lowers []string) (string, error) {
	subject := subject(containerID)
	if !id.Valid(containerID) {
		return "", fault.New(fault.Invalid, subject, "the container id is not one")
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	home := filepath.Join(r.root, containerID)
	merged := filepath.Join(home, mergedName)
	if mounted, err := isMount(home, merged); err == nil && mounted {
		return merged, nil
	}
	if err := r.prepare(home, len(lowers) == 0); err != nil {
		return "", mountFault(subject, "its folders cannot be made", err)
	}
	if len(lowers) == 0 {
		lowers = []string{filepath.Join(home, emptyName)}
	}
	o := overlay{lowers: topmostFirst(lowers), upper: filepath.Join(home, upperName), work: filepath.Join(home, workName)}
	if err := o.mount(merged); err != nil {
		return "", mountFault(subject, "cannot be mounted", o.explain(err))
	}
	return merged, nil
}

// topmostFirst orders layers as overlayfs wants them. The kernel refuses a folder that stands twice; only the topmost of them
// matters, as it has all that those below have, whiteouts too.
func topmostFirst(lowers []string) []string {
	out := make([]string, 0, len(lowers))
	seen := make(map[string]bool, len(lowers))
	for _, l := range slices.Backward(lowers) {
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

// prepare makes the folders. The upper one is what a container sees as the mode of its /.
func (r *RootFS) prepare(home string, empty bool) error {
	names := []string{upperName, workName, mergedName}
	if empty {
		names = append(names, emptyName)
	}
	if err := os.MkdirAll(home, DirectoryMode|Disposable); err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(home, name)
		switch err := os.Mkdir(path, 0o755); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// isMount tells whether something is mounted on a folder, whose parent is home.
func isMount(home, path string) (bool, error) {
	var up, at unix.Stat_t
	if err := errors.Join(unix.Lstat(home, &up), unix.Lstat(path, &at)); err != nil {
		return false, err
	}
	return up.Dev != at.Dev, nil
}

func mountFault(subject, message string, err error) error {
	hint := ""
	kind := fault.Unavailable
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, hint = fault.Exhausted, "make room on the disk of --data-root"
	case errors.Is(err, syscall.EPERM):
		hint = "the agent needs CAP_SYS_ADMIN"
	case errors.Is(err, syscall.ENODEV):
		hint = "the kernel has no overlayfs: modprobe overlay"
	case errors.Is(err, syscall.EINVAL):
		hint = "--data-root must be on a file system that can carry overlayfs (ext4, xfs, btrfs; not another overlay)"
	}
	return fault.New(kind, subject, message, fault.WithCause(err), fault.WithHint("%s", hint))
}

func subject(containerID string) string {
	return "root file system of container " + id.Short(containerID)
}
