package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/unpack"
)

// Stat holds the attributes of a file in a container.
type Stat struct {
	Name     string
	Size     int64
	Mode     uint32 // type and permissions, as the kernel has them
	Modified time.Time
	Link     string // the target of a symlink, resolved within the container
}

// Target is a directory in a container that an archive is unpacked into.
type Target struct {
	Ref, Path string
	KeepOwner bool // keep owners of the archive; otherwise all files belong to root of the container
	Replace   bool // replace a directory by another file and the reverse; otherwise it is an error
}

// Stat returns the attributes of a path in a container.
func (f *Files) Stat(ctx context.Context, ref, name string) (out Stat, err error) {
	err = f.within(ctx, ref, func(c *container.Container, v view) error {
		out, _, err = stat(c, v, name)
		return err
	})
	return out, err
}

// CopyFrom calls begin with the attributes of a path and writes it to w as a tar archive. A slash or
// /. after a symlink follows it.
func (f *Files) CopyFrom(ctx context.Context, ref, name string, begin func(Stat) error, w io.Writer) error {
	return f.within(ctx, ref, func(c *container.Container, v view) error {
		st, at, err := stat(c, v, name)
		if err != nil {
			return err
		}
		if err := begin(st); err != nil {
			return err
		}

		if !v.running {
			w = idleLimit{w: w, limit: idleTimeout}
		}
		out := tar.NewWriter(w)
		if err := tree.Write(ctx, out, v.root, at, st.Name, tree.Options{}); err != nil {
			return readFault(c, err)
		}
		if err := out.Close(); err != nil {
			return err
		}
		f.Notices.Emit(c, "archive-path")
		return nil
	})
}

// CopyTo unpacks a tar archive, which can be compressed, into a directory of a container.
func (f *Files) CopyTo(ctx context.Context, to Target, in io.Reader) error {
	return f.within(ctx, to.Ref, func(c *container.Container, v view) error {
		at, err := locate(c, v, to.Path)
		if err != nil {
			return err
		}
		dir, err := v.root.OpenDir(at)
		if err != nil {
			return pathFault(c, to.Path, err)
		}
		defer func() { _ = dir.Close() }()
		if err := refuse(c, v.scratch, at); err != nil {
			return err
		}
		if err := writable(c, v, dir); err != nil {
			return err
		}

		if !v.running {
			in = idleLimit{r: in, limit: idleTimeout}
		}
		into := tree.Into{Strict: !to.Replace, Change: keepTop}
		if !to.KeepOwner {
			into.Owner = &[2]int{}
		}
		plain, err := unpack.Decompress(in)
		if err != nil {
			return writeFault(c, err)
		}
		defer func() { _ = plain.Close() }()
		if err := tree.Extract(ctx, plain, dir, into); err != nil {
			return writeFault(c, err)
		}
		f.Notices.Emit(c, "extract-to-dir")
		return nil
	})
}

// keepTop renames the entry of the directory itself, whose attributes must stay.
func keepTop(h *tar.Header) {
	if h.Typeflag == tar.TypeDir && path.Clean(strings.TrimLeft(h.Name, "/")) == "." {
		h.Typeflag = tar.TypeXGlobalHeader
	}
}

// within calls do with the root file system of a container. That of a running one has its mounts.
func (f *Files) within(ctx context.Context, ref string,
	do func(c *container.Container, v view) error) error {
	c, err := f.Store.FindContainer(ref)
	if err != nil {
		return err
	}

	for {
		run := f.Lives.Of(c.ID)
		if run == nil {
			done, err := f.withMount(ctx, c, func(*beneath.Root) error {
				return f.withMounts(ctx, c, f.RootFS.Path(c.ID), func(v view) error { return do(c, v) })
			})
			if done || err != nil {
				return err
			}
			continue // it was started meanwhile
		}

		root, err := openRunning(ctx, func() (*beneath.Root, error) { return f.openProcess(c.ID) }, run)
		if err != nil {
			return readFault(c, err)
		}
		if root != nil {
			return errors.Join(do(c, view{root: root, running: true}), root.Close())
		}
	}
}

func (f *Files) openProcess(id string) (*beneath.Root, error) {
	c, err := f.Store.GetContainer(id)
	if err != nil {
		return nil, err
	}
	if c.Live == nil {
		return nil, os.ErrProcessDone
	}
	return beneath.OpenProcess(c.Live.PID)
}

// stat returns the attributes of a path and where it is, without symlinks before the last component.
func stat(c *container.Container, v view, name string) (Stat, string, error) {
	dir, base := path.Split(name)
	at, err := locate(c, v, dir)
	if err != nil {
		return Stat{}, "", err
	}
	switch base {
	case "", ".":
		if a, ok := v.root.Lookup(at); ok && !a.IsDir() {
			return Stat{}, "", pathFault(c, name, unix.ENOTDIR)
		}
	case "..":
		at, err = locate(c, v, name)
	default:
		at = path.Join(at, base)
		err = unmounted(c, v, at)
	}
	if err != nil {
		return Stat{}, "", err
	}

	a, err := v.root.Stat(at, false)
	if err != nil {
		return Stat{}, "", pathFault(c, name, err)
	}
	raw := a.Raw()
	out := Stat{Name: nameOf(name), Size: raw.Size, Mode: raw.Mode, Modified: time.Unix(raw.Mtim.Unix())}
	if raw.Mode&unix.S_IFMT == unix.S_IFLNK {
		if out.Link, err = v.root.Resolve(at); err != nil {
			return Stat{}, "", pathFault(c, name, err)
		}
	}
	return out, at, nil
}

// nameOf returns the name of a path's entry in an archive: its last component, or a dot for the
// content of a directory.
func nameOf(name string) string {
	if strings.HasSuffix(name, "/.") || strings.HasSuffix(name, "..") || path.Clean("/"+name) == "/" {
		return "."
	}
	return path.Base(name)
}

// locate resolves a path.
func locate(c *container.Container, v view, name string) (string, error) {
	at, err := v.root.Resolve(name)
	if err != nil {
		return "", pathFault(c, name, err)
	}
	return at, unmounted(c, v, at)
}

// unmounted refuses a path in a mount that exists only while the container runs.
func unmounted(c *container.Container, v view, at string) error { return refuse(c, v.absent, at) }

// refuse refuses a path in one of some mounts.
func refuse(c *container.Container, mounts []string, at string) error {
	for _, target := range mounts {
		if at == target || strings.HasPrefix(at, strings.TrimSuffix(target, "/")+"/") {
			return fault.New(fault.Busy, c.Subject(),
				fmt.Sprintf("path %s is in the mount %s, which exists only while the container runs", at, target),
				fault.WithHint("start the container first"))
		}
	}
	return nil
}

// writable refuses a directory that the container could not write to either.
func writable(c *container.Container, v view, dir *beneath.Root) error {
	if c.Config.Security.ReadOnly && (!v.running || dir.IsReadOnly()) && v.root.SameMount(dir) {
		return fault.New(fault.Busy, c.Subject(), "container rootfs is marked read-only")
	}
	if dir.IsReadOnly() {
		return fault.New(fault.Busy, c.Subject(), "mounted volume is marked read-only")
	}
	return nil
}

func pathFault(c *container.Container, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, c.Subject(), fmt.Sprintf("Could not find the file %s in container %s", name,
			c.Config.Name), fault.WithField("path"))
	case errors.Is(err, unix.ENOTDIR):
		return fault.Invalidf(c.Subject(), "path", "%s is not a directory", name)
	case errors.Is(err, beneath.ErrLoop):
		return fault.Invalidf(c.Subject(), "path", "%s has too many symlinks", name)
	}
	return readFault(c, err)
}

func writeFault(c *container.Container, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	kind := fault.Invalid
	for _, of := range []error{unix.ENOSPC, unix.EIO, unix.EDQUOT} {
		if errors.Is(err, of) {
			kind = fault.Unavailable
		}
	}
	if errors.Is(err, unix.EROFS) {
		kind = fault.Busy
	}
	return fault.New(kind, c.Subject(), "the archive cannot be unpacked", fault.WithCause(err))
}
