package files

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Volumes returns the directories of volumes.
type Volumes interface {
	Acquire(ctx context.Context, name string) (string, error)
	Release(ctx context.Context, names []string, inUse func(name string) bool) error
}

// view is the root file system of a container as its processes see it, or would see it.
type view struct {
	root    *beneath.Root
	running bool
	absent  []string // mounts that exist only while the container runs
}

// withMounts calls do with the root file system of a container that does not run, in which its volumes and
// bind mounts are mounted. Others exist only while it runs.
func (f *Files) withMounts(ctx context.Context, c *container.Container, rootfs string,
	do func(view) error) (err error) {
	v := view{absent: []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}}
	var grafts []beneath.Graft
	defer func() {
		for _, g := range grafts {
			_ = unix.Close(g.Source)
		}
		err = errors.Join(err, f.Volumes.Release(ctx, c.Volumes(), func(name string) bool { return f.isUsed(name) }))
	}()

	for _, m := range byDepth(c.Config.Mounts) {
		g, ok, err := f.graft(ctx, m)
		if err != nil {
			return err
		}
		if !ok {
			v.absent = append(v.absent, path.Clean(m.Target))
			continue
		}
		grafts = append(grafts, g)
	}

	tree, err := beneath.OpenGrafted(rootfs, grafts)
	if err != nil {
		return readFault(c, err)
	}
	v.root = tree.Root
	return errors.Join(do(v), tree.Close())
}

// byDepth returns mounts in the order of mounting.
func byDepth(mounts []container.Mount) []container.Mount {
	out := slices.Clone(mounts)
	depth := func(m container.Mount) int { return strings.Count(path.Clean(m.Target), "/") }
	slices.SortStableFunc(out, func(a, b container.Mount) int { return cmp.Compare(depth(a), depth(b)) })
	return out
}

// graft opens the source of a mount. ok is false if there is none.
func (f *Files) graft(ctx context.Context, m container.Mount) (g beneath.Graft, ok bool, err error) {
	g = beneath.Graft{Target: m.Target, ReadOnly: m.ReadOnly, Recursive: !m.NonRecursive}
	switch {
	case m.IsVolume():
		dir, err := f.Volumes.Acquire(ctx, m.Source)
		if err != nil {
			return g, false, err
		}
		root, err := beneath.Open(dir)
		if err != nil {
			return g, false, err
		}
		defer func() { _ = root.Close() }()
		g.Source, err = root.OpenAny(path.Join("/", m.Subpath))
		if errors.Is(err, unix.ENOENT) {
			return g, false, nil
		}
		if err != nil {
			return g, false, err
		}
	case m.Type == container.Bind:
		g.Source, err = unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return g, false, nil
		}
		if err != nil {
			return g, false, err
		}
	default:
		return g, false, nil
	}

	var st unix.Stat_t
	if err := unix.Fstat(g.Source, &st); err != nil {
		return g, false, errors.Join(err, unix.Close(g.Source))
	}
	g.File = st.Mode&unix.S_IFMT != unix.S_IFDIR
	return g, true, nil
}

// isUsed reports whether a running container uses a volume.
func (f *Files) isUsed(name string) bool {
	return slices.ContainsFunc(f.Store.VolumeUsers(name), func(uid string) bool { return f.Lives.Of(uid) != nil })
}
