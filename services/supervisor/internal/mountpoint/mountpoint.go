// Package mountpoint creates a container's mount points in its root file system. It does not mount.
// Package run calls it before an OCI runtime uses the root file system, while no process of the
// container runs.
//
// OCI runtimes trust some paths of a root file system too much: if /dev is a symlink, crun and runc
// create device nodes in its target directory on the host. So /dev, /proc, /sys and the name files
// are created as real directories and files, as in Docker's init layer. Runtimes get the targets of
// other mounts without symlinks.
package mountpoint

import (
	"errors"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Mount is the target of a bind mount.
type Mount struct {
	Target string
	File   bool // the source is not a directory
}

// Request lists the paths that must exist.
type Request struct {
	Mounts     []Mount  // in mount order
	NameFiles  []string // files mounted by the agent, such as /etc/hosts
	WorkingDir string
}

// standard returns the directories on which OCI runtimes mount file systems.
func standard() []string { return []string{"/proc", "/sys", "/dev"} }

// Prepare creates the mount points and the working directory in a root file system. It returns the
// targets of the mounts without symlinks, in order.
func Prepare(rootfs string, req Request) ([]string, error) {
	root, err := beneath.Open(rootfs)
	if err != nil {
		return nil, fault.New(fault.Internal, "root file system "+rootfs, "cannot be opened", fault.WithCause(err))
	}
	defer func() { _ = root.Close() }()
	for _, dir := range standard() {
		if err := root.EnsureReal(dir, beneath.Directory); err != nil {
			return nil, refusal("mount point "+dir, err)
		}
	}

	for _, name := range req.NameFiles {
		if err := root.EnsureReal(name, beneath.File); err != nil {
			return nil, refusal("mount point "+name, err)
		}
	}

	targets, mounted := []string{}, standard()
	for _, m := range req.Mounts {
		target, err := root.Ensure(m.Target, m.kind(), mounted...)
		if err != nil {
			return nil, refusal("mount point "+m.Target, err)
		}
		targets, mounted = append(targets, target), append(mounted, target)
	}

	return targets, workingDir(root, req.WorkingDir, mounted)
}

func (m Mount) kind() beneath.Kind {
	if m.File {
		return beneath.File
	}
	return beneath.Directory
}

func workingDir(root *beneath.Root, dir string, mounted []string) error {
	if dir == "" {
		return nil
	}
	real, err := root.Ensure(dir, beneath.Directory, mounted...)
	if err != nil {
		return refusal("working directory "+dir, err)
	}
	return container.ValidateWorkingDir("working directory "+dir, real)
}

func refusal(subject string, err error) error {
	if errors.Is(err, beneath.ErrKind) {
		return fault.New(fault.Invalid, subject, "not a directory", fault.WithField("volume"), fault.WithCause(err),
			fault.WithHint("Are you trying to mount a directory onto a file (or vice-versa)? "+
				"Check if the specified host path exists and is the expected type"))
	}
	if errors.Is(err, beneath.ErrLoop) {
		return fault.New(fault.Invalid, subject, "cannot be resolved in the root file system",
			fault.WithField("volume"), fault.WithCause(err))
	}
	return fault.New(fault.Unavailable, subject, "cannot be created in the root file system", fault.WithCause(err))
}
