package files

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// Kind is the kind of a change.
type Kind int

// The kinds of changes.
const (
	Changed Kind = iota
	Added
	Deleted
)

// Change is a file that differs from the image.
type Change struct {
	Path string
	Kind Kind
}

// Changes returns the files of a container that differ from its image, sorted by path.
func (f *Files) Changes(ctx context.Context, ref string) ([]Change, error) {
	c, err := f.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	img, err := f.Images.Resolve(c.ImageID, "")
	if err != nil {
		return nil, err
	}

	d := differ{ctx: ctx}
	defer d.close()
	for _, path := range slices.Backward(f.Images.LayerPaths(img)) {
		lower, err := beneath.Open(path)
		if err != nil {
			return nil, readFault(c, err)
		}
		d.lowers = append(d.lowers, lower)
	}

	upper, err := beneath.Open(f.RootFS.Upper(c.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it was never mounted
	}
	if err != nil {
		return nil, readFault(c, err)
	}
	defer func() { _ = upper.Close() }()
	if _, err := d.directory(upper, "/", 0); err != nil {
		return nil, readFault(c, err)
	}

	slices.SortFunc(d.out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.out, nil
}

// maxDepth bounds the nesting of directories.
const maxDepth = 512

// differ compares the writable directory of an overlay with its lower directories, topmost first.
type differ struct {
	ctx    context.Context
	lowers []*beneath.Root
	out    []Change
}

func (d *differ) close() {
	for _, l := range d.lowers {
		_ = l.Close()
	}
}

// directory adds the changes below a directory, and returns their number.
func (d *differ) directory(upper *beneath.Root, at string, depth int) (n int, err error) {
	names, err := upper.List(at)
	if err != nil || depth > maxDepth {
		return 0, err
	}
	for _, name := range names {
		if err := d.ctx.Err(); err != nil {
			return n, err
		}
		more, err := d.entry(upper, path.Join(at, name), depth)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

func (d *differ) entry(upper *beneath.Root, at string, depth int) (n int, err error) {
	a, ok := upper.Lookup(at)
	if !ok {
		return 0, nil // removed meanwhile
	}
	before, existed := d.below(at)
	if isWhiteout(a) {
		if !existed {
			return 0, nil
		}
		d.out = append(d.out, Change{at, Deleted})
		return 1, nil
	}

	if a.IsDir() {
		if n, err = d.directory(upper, at, depth+1); err != nil {
			return n, err
		}
	}
	switch {
	case !existed && n == 0 && isMountPoint(at, a):
		return n, nil
	case !existed:
		d.out = append(d.out, Change{at, Added})
	case a.IsDir() && before.IsDir() && n == 0 && sameAttributes(a, before):
		return 0, nil // only copied up
	default:
		d.out = append(d.out, Change{at, Changed})
	}
	return n + 1, nil
}

// below returns the attributes of a file in the image.
func (d *differ) below(at string) (beneath.Attributes, bool) {
	for _, l := range d.lowers {
		for p := at; p != "/"; p = path.Dir(p) {
			a, ok := l.Lookup(p)
			switch {
			case ok && (isWhiteout(a) || p != at && !a.IsDir()):
				return a, false // this layer hides it
			case ok && p == at:
				return a, true
			case ok && l.IsOpaque(p):
				return a, false
			}
		}
	}
	return beneath.Attributes{}, false
}

func isWhiteout(a beneath.Attributes) bool {
	st := a.Raw()
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func sameAttributes(a, b beneath.Attributes) bool {
	x, y := a.Raw(), b.Raw()
	return x.Mode == y.Mode && x.Uid == y.Uid && x.Gid == y.Gid
}

// isMountPoint reports whether the agent created an empty file or directory to mount on it.
func isMountPoint(at string, a beneath.Attributes) bool {
	st := a.Raw()
	return slices.Contains([]string{"/proc", "/sys", "/dev", "/etc", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"},
		at) && (a.IsDir() || st.Size == 0)
}
