// Package rootfs mounts containers' root file systems by overlayfs. The writable directory of a
// container is above the layers of its image:
//
//	<root>/<container id>/upper   changes of the container
//	<root>/<container id>/work    used by overlayfs
//	<root>/<container id>/merged  mount point
//
// Package run calls it. It does not depend on images, and mounts nothing else into a container. The
// writable directory outlives the mount, so a stopped container keeps its files.
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
	emptyName  = "empty" // replaces the layers of an image without layers
)

// The mode of a container's directory. Other users have no access, because images contain set-uid
// programs. Disposable marks a container whose process has never run, Starting one whose process has
// been started and is not stored yet; see package run.
const (
	DirectoryMode fs.FileMode = 0o700
	Disposable                = fs.ModeSticky
	Starting                  = fs.ModeSetgid
)

// RootFS mounts root file systems below one directory. Calls for one container must not be
// concurrent; calls for different containers may be.
type RootFS struct{ root string }

// New returns a RootFS for a directory, which need not exist yet.
func New(root string) *RootFS { return &RootFS{root: root} }

// Path returns the mount point of a container's root file system.
func (r *RootFS) Path(containerID string) string {
	return filepath.Join(r.root, containerID, mergedName)
}

// Upper returns the directory with the changes of a container.
func (r *RootFS) Upper(containerID string) string {
	return filepath.Join(r.root, containerID, upperName)
}

// Mount mounts a container's root file system over layers, lowest first, and returns the mount
// point. It does nothing if it is already mounted.
func (r *RootFS) Mount(ctx context.Context, containerID string, lowers []string) (string, error) {
	subject := subject(containerID)
	if !id.Valid(containerID) {
		return "", fault.New(fault.Invalid, subject, "container ID is not valid")
	}

	if err := ctx.Err(); err != nil {
		return "", err
	}

	dir := filepath.Join(r.root, containerID)
	merged := filepath.Join(dir, mergedName)
	if mounted, err := isMount(dir, merged); err == nil && mounted {
		return merged, nil
	}

	if err := r.prepare(dir, len(lowers) == 0); err != nil {
		return "", mountFault(subject, "cannot create its directories", err)
	}
	if len(lowers) == 0 {
		lowers = []string{filepath.Join(dir, emptyName)}
	}

	o := overlay{lowers: topmostFirst(lowers), upper: filepath.Join(dir, upperName), work: filepath.Join(dir, workName)}
	if err := o.mount(merged); err != nil {
		return "", mountFault(subject, "cannot be mounted", o.explain(err))
	}

	return merged, nil
}

// topmostFirst reverses layers into the order of overlayfs. The kernel rejects duplicates. Only the
// topmost copy is kept: it hides the others.
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

// prepare creates the directories. The upper directory determines the mode of / in the container.
func (r *RootFS) prepare(dir string, empty bool) error {
	names := []string{upperName, workName, mergedName}
	if empty {
		names = append(names, emptyName)
	}

	if err := os.MkdirAll(dir, DirectoryMode|Disposable); err != nil {
		return err
	}

	for _, name := range names {
		path := filepath.Join(dir, name)
		switch err := os.Mkdir(path, 0o755); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if err := os.Chmod(path, 0o755); err != nil { // independent of the umask
			return err
		}
	}

	return nil
}

// isMount reports whether a file system is mounted on path, a subdirectory of dir.
func isMount(dir, path string) (bool, error) {
	var up, at unix.Stat_t
	if err := errors.Join(unix.Lstat(dir, &up), unix.Lstat(path, &at)); err != nil {
		return false, err
	}
	return up.Dev != at.Dev, nil
}

func mountFault(subject, message string, err error) error {
	hint := ""
	kind := fault.Unavailable
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind, hint = fault.Exhausted, "free space on the disk of --data-root"
	case errors.Is(err, syscall.EPERM):
		hint = "run the agent with CAP_SYS_ADMIN"
	case errors.Is(err, syscall.ENODEV):
		hint = "load overlayfs: modprobe overlay"
	case errors.Is(err, syscall.EINVAL):
		hint = "put --data-root on a file system that supports overlayfs (ext4, xfs or btrfs, but not overlay)"
	}

	return fault.New(kind, subject, message, fault.WithCause(err), fault.WithHint("%s", hint))
}

func subject(containerID string) string {
	return "root file system of container " + id.Short(containerID)
}
