package volumes

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
)

// Fill copies the directory at target of a root file system to an empty volume, with its owner and
// mode. It does nothing if the volume has content or the directory does not exist. After a crash the
// volume is empty, or the copy is completed.
func (v *Volumes) Fill(ctx context.Context, name, rootfs, target string) error {
	unlock, err := v.locks.LockContext(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()

	empty, err := isEmpty(v.Path(name))
	if err != nil {
		return diskFault(name, "cannot be read", err)
	}
	if !empty {
		return nil
	}

	root, err := beneath.Open(rootfs)
	if err != nil {
		return fault.New(fault.Internal, "root file system "+rootfs, "cannot be opened", fault.WithCause(err))
	}
	defer func() { _ = root.Close() }()
	from, err := root.OpenDir(target)
	if err != nil {
		return nil // the image has no such directory
	}
	defer func() { _ = from.Close() }()

	if empty, err = isEmpty(from.Path()); err == nil && empty {
		err = copyAttributes(from, v.Path(name)) // most targets are created for the mount
	} else if err == nil {
		err = v.copyFrom(ctx, name, from)
	}
	if err != nil {
		return diskFault(name, "files of the image cannot be copied to it", err)
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return len(names) == 0, err
}

// copyFrom copies a directory to a volume. A volume with options is on another file system, where a
// copy cannot be moved: it is filled directly.
func (v *Volumes) copyFrom(ctx context.Context, name string, from *beneath.Root) error {
	if mounted, err := isMountPoint(v.Path(name)); err != nil || mounted {
		return errors.Join(err, copyTree(ctx, from, v.Path(name)))
	}

	tmp := filepath.Join(v.dir(name), copyName)
	if err := errors.Join(beneath.Remove(tmp), os.Mkdir(tmp, 0o755)); err != nil {
		return err
	}
	err := copyTree(ctx, from, tmp)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(v.dir(name), readyName))
	}
	if err != nil {
		return errors.Join(err, beneath.Remove(tmp))
	}

	return v.completeCopy(name)
}

// copyTree copies the content and attributes of a directory to another one.
func copyTree(ctx context.Context, from *beneath.Root, to string) error {
	dir, err := beneath.Open(to)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()

	r, w := io.Pipe()
	go func() {
		out := tar.NewWriter(w)
		err := tree.Write(ctx, out, from, "/", ".", tree.Options{})
		if err == nil {
			err = out.Close()
		}
		_ = w.CloseWithError(err)
	}()

	err = tree.Extract(ctx, r, dir, tree.Into{})
	_ = r.CloseWithError(err) // ends the writer if Extract failed
	return err
}

// completeCopy moves a complete copy to the data of a volume, entry by entry, because a container may
// have mounted the directory. It deletes an incomplete copy.
func (v *Volumes) completeCopy(name string) error {
	if err := beneath.Remove(filepath.Join(v.dir(name), copyName)); err != nil {
		return diskFault(name, "cannot delete an incomplete copy", err)
	}
	ready := filepath.Join(v.dir(name), readyName)
	entries, err := os.ReadDir(ready)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err != nil {
			break
		}
		err = unix.Renameat2(unix.AT_FDCWD, filepath.Join(ready, e.Name()), unix.AT_FDCWD,
			filepath.Join(v.Path(name), e.Name()), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			err = nil // a container created it meanwhile
		}
	}
	if err == nil {
		err = copyAttributesOf(ready, v.Path(name))
	}
	if err == nil {
		err = beneath.Remove(ready)
	}
	if err != nil {
		return diskFault(name, "cannot complete a copy", err)
	}

	return nil
}

// copyAttributesOf is copyAttributes with a path.
func copyAttributesOf(from, to string) error {
	dir, err := beneath.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return copyAttributes(dir, to)
}

// copyAttributes copies owner, mode and times of a directory.
func copyAttributes(from *beneath.Root, to string) error {
	st, err := from.Stat("/", false)
	if err != nil {
		return err
	}
	dir, err := beneath.Open(to)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.SetDirAttributes("/", st)
}
