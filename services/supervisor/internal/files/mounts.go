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
	scratch []string // mounts that are empty until the container runs, and cannot be written
}

// withMounts calls do with the root file system of a container that does not run, in which its volumes,
// bind mounts and images are mounted, and its file systems in memory, which are empty. Others exist only
// while it runs.
func (f *Files) withMounts(ctx context.Context, c *container.Container, rootfs string,
	do func(view) error) (err error) {
	v := view{absent: []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}}
	var grafts []beneath.Graft
	defer func() {
		for _, g := range grafts {
			_ = unix.Close(g.Source)
		}
		err = errors.Join(err, f.RootFS.UnmountImages(c.ID, imageMounts(c.Config.Mounts)),
			f.Volumes.Release(ctx, c.Volumes(), func(name string) bool { return f.isUsed(name) }))
	}()

	var inMemory []string // directories that are empty now, without mount points
	for _, m := range byDepth(c.Config.Mounts) {
		target := path.Clean(m.Target)
		if slices.ContainsFunc(inMemory, func(dir string) bool { return strings.HasPrefix(target, dir+"/") }) {
			v.absent = append(v.absent, target)
			continue
		}
		if m.Type == container.TmpfsMount {
			inMemory = append(inMemory, target)
		}
		g, ok, err := f.graft(ctx, c, m)
		if err != nil {
			return err
		}
		if !ok {
			v.absent = append(v.absent, target)
			continue
		}
		grafts = append(grafts, g)
	}

	tree, err := beneath.OpenGrafted(rootfs, grafts)
	if err != nil {
		return readFault(c, err)
	}
	v.root = tree.Root
	for _, g := range grafts {
		if g.Detached {
			v.scratch = append(v.scratch, g.Target) // without symlinks now
		}
	}
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
func (f *Files) graft(ctx context.Context, c *container.Container, m container.Mount) (g beneath.Graft, ok bool,
	err error) {
	g = beneath.Graft{Target: m.Target, ReadOnly: m.ReadOnly, Recursive: !m.NonRecursive}
	switch {
	case m.IsVolume():
		var dir string
		if dir, err = f.Volumes.Acquire(ctx, m.Source); err == nil {
			g.Source, err = open(dir, m.Subpath)
		}
	case m.Type == container.ImageMount:
		var dir string
		g.ReadOnly = true
		if dir, err = f.mountImage(c, m); err == nil {
			g.Source, err = open(dir, m.Subpath)
		}
	case m.Type == container.Bind:
		g.Source, err = unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	case m.Type == container.TmpfsMount:
		g.Detached = true
		g.Source, err = beneath.EmptyTmpfs(m.TmpfsMode)
	default:
		return g, false, nil
	}
	if errors.Is(err, unix.ENOENT) {
		return g, false, nil
	}
	if err != nil {
		return g, false, err
	}

	var st unix.Stat_t
	if err := unix.Fstat(g.Source, &st); err != nil {
		return g, false, errors.Join(err, unix.Close(g.Source))
	}
	g.File = st.Mode&unix.S_IFMT != unix.S_IFDIR
	return g, true, nil
}

// open opens a path below a directory.
func open(dir, subpath string) (int, error) {
	root, err := beneath.Open(dir)
	if err != nil {
		return -1, err
	}
	defer func() { _ = root.Close() }()
	return root.OpenAny(path.Join("/", subpath))
}

// mountImage mounts an image of a container and returns its directory.
func (f *Files) mountImage(c *container.Container, m container.Mount) (string, error) {
	img, err := f.Images.Resolve(m.ImageID, "")
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(c.Config.Mounts, func(other container.Mount) bool { return other.Target == m.Target })
	return f.RootFS.MountImage(c.ID, imageMounts(c.Config.Mounts[:n]), f.Images.LayerPaths(img))
}

// imageMounts returns the number of image mounts.
func imageMounts(mounts []container.Mount) (n int) {
	for _, m := range mounts {
		if m.Type == container.ImageMount {
			n++
		}
	}
	return n
}

// isUsed reports whether a running container uses a volume.
func (f *Files) isUsed(name string) bool {
	return slices.ContainsFunc(f.Store.VolumeUsers(name), func(uid string) bool { return f.Lives.Of(uid) != nil })
}
