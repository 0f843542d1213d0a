// Package files reads and writes the files of containers: exports, changes and copies. Package api calls
// it. It does not start containers.
package files

import (
	"archive/tar"
	"context"
	"errors"
	"io"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images is the part of the image store that Files uses.
type Images interface {
	Resolve(ref, platform string) (*store.Image, error)
	LayerPaths(img *store.Image) []string
}

// RootFS mounts root file systems of containers.
type RootFS interface {
	Mount(ctx context.Context, uid string, lowers []string) (string, error)
	Unmount(uid string) error
	Path(uid string) string
	Upper(uid string) string
	MountImage(uid string, n int, lowers []string) (string, error)
	UnmountImages(uid string, n int) error
}

// Config holds the dependencies of Files.
type Config struct {
	Store   *store.Store
	Images  Images
	RootFS  RootFS
	Volumes Volumes
	Lives   *lives.Lives
	Notices *notices.Notices
}

// Files reads and writes the files of containers.
type Files struct{ Config }

// New returns Files.
func New(cfg Config) *Files { return &Files{cfg} }

// Export writes the root file system of a container as a tar archive, without what is mounted in it.
// A stopped container cannot be started meanwhile, so its client must not be idle.
func (f *Files) Export(ctx context.Context, ref string, w io.Writer) error {
	c, err := f.Store.FindContainer(ref)
	if err != nil {
		return err
	}

	return f.withRoot(ctx, c, func(root *beneath.Root) error {
		if f.Lives.Of(c.ID) == nil {
			w = idleLimit{w: w, limit: idleTimeout}
		}
		out := tar.NewWriter(w)
		if err := tree.Write(ctx, out, root, "/", "", tree.Options{}); err != nil {
			return readFault(c, err)
		}
		if err := out.Close(); err != nil {
			return err
		}
		f.Notices.Emit(c, "export")
		return nil
	})
}

func readFault(c *container.Container, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.Unavailable, c.Subject(), "its files cannot be read", fault.WithCause(err))
}

// withRoot calls do with the root file system. That of a container that does not run is mounted
// meanwhile, with the lock of the container held.
func (f *Files) withRoot(ctx context.Context, c *container.Container, do func(*beneath.Root) error) error {
	for {
		run := f.Lives.Of(c.ID)
		if run == nil {
			done, err := f.withMount(ctx, c, do)
			if done || err != nil {
				return err
			}
			continue // it was started meanwhile
		}

		root, err := openRunning(ctx, func() (*beneath.Root, error) { return beneath.Open(f.RootFS.Path(c.ID)) }, run)
		if err != nil {
			return readFault(c, err)
		}
		if root != nil {
			return errors.Join(do(root), root.Close())
		}
	}
}

// openRunning opens the root file system of a run with open. It returns nil once the run has ended and its root
// file system is unmounted.
func openRunning(ctx context.Context, open func() (*beneath.Root, error), run *lives.Run) (*beneath.Root, error) {
	select {
	case <-run.Launched:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	root, err := open()
	if !run.Failed && !lives.IsOver(run.Ended) {
		return root, err
	}
	if err == nil {
		_ = root.Close()
	}
	if run.Failed {
		return nil, nil
	}

	select {
	case <-run.Cleaned:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// withMount mounts the root file system and calls do. done is false if the container was started
// meanwhile.
func (f *Files) withMount(ctx context.Context, c *container.Container, do func(*beneath.Root) error) (done bool,
	err error) {
	unlock, err := f.Lives.Lock(ctx, c.ID)
	if err != nil {
		return false, err
	}
	defer unlock()
	if f.Lives.Of(c.ID) != nil {
		return false, nil
	}
	if _, err := f.Store.GetContainer(c.ID); err != nil { // it was removed meanwhile
		return false, err
	}

	img, err := f.Images.Resolve(c.ImageID, "")
	if err != nil {
		return false, err
	}
	path, err := f.RootFS.Mount(ctx, c.ID, f.Images.LayerPaths(img))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.RootFS.Unmount(c.ID)) }()

	root, err := beneath.Open(path)
	if err != nil {
		return false, readFault(c, err)
	}
	return true, errors.Join(do(root), root.Close())
}
