package files

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// WriteLayer writes the changes of a container as the archive of a layer. A container that does not
// run cannot be started meanwhile. It fails if a running one is removed meanwhile.
func (f *Files) WriteLayer(ctx context.Context, c *container.Container, w io.Writer) error {
	unlock, err := f.Lives.Lock(ctx, c.ID)
	if err != nil {
		return err
	}
	if f.Lives.Of(c.ID) != nil {
		unlock()
	} else {
		defer unlock()
	}

	if err := f.checkKept(c); err != nil {
		return err
	}
	if err := f.writeChanges(ctx, c, w); err != nil {
		return err
	}
	return f.checkKept(c)
}

// checkKept returns a fault if a container is removed, or being removed.
func (f *Files) checkKept(c *container.Container) error {
	now, err := f.Store.GetContainer(c.ID)
	if err == nil && now.Status == container.Removing {
		err = fault.New(fault.Busy, c.Subject(), "is being removed")
	}
	return err
}

func (f *Files) writeChanges(ctx context.Context, c *container.Container, w io.Writer) error {
	out := tar.NewWriter(w)
	changes, err := f.Changes(ctx, c.ID)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return out.Close()
	}

	upper, err := beneath.Open(f.RootFS.Upper(c.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return out.Close() // it was never mounted
	}
	if err != nil {
		return readFault(c, err)
	}
	defer func() { _ = upper.Close() }()

	kept := make(map[string]bool, len(changes))
	for _, change := range changes {
		kept[strings.TrimPrefix(change.Path, "/")] = true
	}
	err = tree.Write(ctx, out, upper, "/", "", tree.Options{Whiteouts: true, Change: wholeSeconds,
		Skip: func(name string) bool { return !kept[name] }})
	if err == nil {
		err = out.Close()
	}
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return readFault(c, err)
	}
	return err
}

// wholeSeconds drops fractions of times, as other tools do, so that most headers need no extension.
func wholeSeconds(h *tar.Header) { h.ModTime = h.ModTime.Truncate(time.Second) }
