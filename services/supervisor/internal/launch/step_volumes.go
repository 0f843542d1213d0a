package launch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/bindsource"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// resolveMounts replaces --volumes-from by the mounts of these containers, and names of images by IDs.
func (r *Launcher) resolveMounts(cfg *container.Config) error {
	var shared []container.Mount
	for _, spec := range cfg.VolumesFrom {
		ref, readOnly, err := volume.ParseFrom(spec)
		if err != nil {
			return err
		}
		c, err := r.Store.FindContainer(ref)
		if err != nil {
			return err
		}
		shared = append(shared, c.Shared(readOnly)...)
	}

	cfg.Mounts, cfg.VolumesFrom = container.MergeMounts(cfg.Mounts, shared, nil), nil
	for i := range cfg.Mounts {
		m := &cfg.Mounts[i]
		if m.Type != container.ImageMount {
			continue
		}
		img, err := r.Images.Resolve(m.Source, cfg.Platform)
		if err != nil {
			return err
		}
		m.ImageID = img.ID
	}

	return nil
}

// withVolumes adds the volumes of the image to mounts, and names anonymous volumes.
func withVolumes(own []container.Mount, defaults *container.ImageConfig) []container.Mount {
	paths := make([]string, 0, len(defaults.Volumes))
	for p := range defaults.Volumes {
		paths = append(paths, p)
	}
	mounts := container.MergeMounts(own, nil, paths)
	for i := range mounts {
		if m := &mounts[i]; m.IsVolume() && m.Source == "" {
			m.Source, m.Anonymous = id.New(), true
		}
	}
	return mounts
}

// missingVolumes returns the volumes to create with the container unless they exist.
func (r *Launcher) missingVolumes(mounts []container.Mount) ([]*volume.Volume, error) {
	var out []*volume.Volume
	for _, m := range mounts {
		if !m.IsVolume() {
			continue
		}
		var o container.VolumeOptions
		if m.Volume != nil {
			o = *m.Volume
		}
		if m.Anonymous && !slices.ContainsFunc(out, func(v *volume.Volume) bool { return v.Name == m.Source }) {
			labels := map[string]string{volume.AnonymousLabel: ""}
			for k, v := range o.Labels {
				labels[k] = v
			}
			o.Labels = labels
		}
		if _, err := r.Store.GetVolume(m.Source); err == nil && m.Anonymous {
			continue // of --volumes-from
		}
		v, err := volume.New(m.Source, o.Driver, o.Options, o.Labels, time.Now())
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}

	return out, nil
}

// mountVolumes mounts the volumes that have options, and images. Undo unmounts what no other
// container uses.
func (l *launch) mountVolumes(after string) saga.Step {
	return saga.Step{
		Name: mountVolumes, After: needs(after),
		Do: func(ctx context.Context) error {
			mounts := l.req.Config.Mounts
			l.sources = make([]string, len(mounts))
			for i, m := range mounts {
				source, err := l.acquire(ctx, i, m)
				if err != nil {
					return err
				}
				l.sources[i] = source
			}
			close(l.mounted)
			return nil
		},
		Undo: func(ctx context.Context) error {
			if l.c == nil || len(l.c.Config.Mounts) == 0 {
				return nil
			}
			return errors.Join(l.r.RootFS.UnmountImages(l.id, imageMounts(l.req.Config.Mounts)),
				l.r.Volumes.Release(ctx, l.c.Volumes(),
					func(name string) bool { return l.r.volumeInUse(name, l.id) }))
		},
	}
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

// acquire returns the source of a mount on the host.
func (l *launch) acquire(ctx context.Context, i int, m container.Mount) (string, error) {
	switch m.Type {
	case container.VolumeMount:
		select { // the record of a new volume is stored concurrently
		case <-l.stored:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		source, err := l.r.Volumes.Acquire(ctx, m.Source)
		if err == nil {
			l.r.Notices.VolumeMounted(l.id, m)
		}
		return source, err
	case container.ImageMount:
		img, err := l.r.Images.Resolve(m.ImageID, "")
		if err != nil {
			return "", err
		}
		return l.r.RootFS.MountImage(l.id, imageMounts(l.req.Config.Mounts[:i]), l.r.Images.LayerPaths(img))
	}

	return m.Source, nil
}

// volumeInUse reports whether a running container other than except uses a volume.
func (r *Launcher) volumeInUse(name, except string) bool {
	return slices.ContainsFunc(r.Store.VolumeUsers(name), func(uid string) bool {
		if uid == except {
			return false
		}
		c, err := r.Store.GetContainer(uid)
		return r.Lives.Of(uid) != nil || err == nil && c.IsRunning()
	})
}

// ReleaseVolumes unmounts the volumes with options that no running container uses.
func (r *Launcher) ReleaseVolumes(ctx context.Context) error {
	return r.Volumes.Release(ctx, r.Volumes.Mounted(), func(name string) bool { return r.volumeInUse(name, "") })
}

// fill copies the files of the image in a root file system to empty volumes.
func (r *Launcher) fill(ctx context.Context, mounts []container.Mount, rootfs string, targets []string) error {
	for i, m := range mounts {
		if !m.IsVolume() || m.NoCopy || m.Subpath != "" {
			continue
		}
		if err := r.Volumes.Fill(ctx, m.Source, rootfs, targets[i]); err != nil {
			return err
		}
	}
	return nil
}

// fillVolumes copies the files of the image to empty volumes of a container that is not started.
func (l *launch) fillVolumes() saga.Step {
	return saga.Step{
		Name: fillVolumes, After: []string{storeContainer},
		Do: func(ctx context.Context) error {
			if !slices.ContainsFunc(l.req.Config.Mounts, l.r.isPlainVolume) {
				return nil
			}
			var err error
			if l.rootfs, err = l.r.RootFS.Mount(ctx, l.id, l.r.Images.LayerPaths(l.image)); err != nil {
				return err
			}
			for _, m := range l.req.Config.Mounts {
				if err == nil && l.r.isPlainVolume(m) {
					_, err = l.r.Volumes.Acquire(ctx, m.Source)
					if err == nil {
						err = l.r.Volumes.Fill(ctx, m.Source, l.rootfs, m.Target)
					}
				}
			}
			return errors.Join(err, l.r.RootFS.Unmount(l.id))
		},
		Undo: func(context.Context) error { return l.r.RootFS.Unmount(l.id) },
	}
}

// isPlainVolume reports whether a mount is a volume without options that can be filled.
func (r *Launcher) isPlainVolume(m container.Mount) bool {
	if !m.IsVolume() || m.NoCopy || m.Subpath != "" {
		return false
	}
	v, err := r.Store.GetVolume(m.Source)
	return err == nil && len(v.Options) == 0
}

// source is the source of a mount for the OCI runtime.
type source struct {
	path string
	file bool
}

// openSources returns the sources of all mounts. A subpath is resolved below its volume and bound
// elsewhere, so that no process can replace it. closeAll must be called once the runtime has created
// the container.
func openSources(uid string, mounts []container.Mount, paths []string) (all []source, closeAll func() error,
	err error) {
	var open []func() error
	closeAll = func() error {
		var errs []error
		for _, unbind := range open {
			errs = append(errs, unbind())
		}
		return errors.Join(errs...)
	}

	for i, m := range mounts {
		s := source{path: paths[i], file: m.Type == container.Bind && bindsource.IsFile(paths[i])}
		if m.Subpath != "" {
			var unbind func() error
			s.path, unbind, err = volumes.BindSubpath(paths[i], m.Subpath, fmt.Sprintf("%s-%d", uid, i))
			if err != nil {
				return nil, nil, errors.Join(subpathFault(m, err), closeAll())
			}
			open = append(open, unbind)
			s.file = bindsource.IsFile(s.path)
		}
		all = append(all, s)
	}

	return all, closeAll, nil
}

func subpathFault(m container.Mount, err error) error {
	return fault.New(fault.Invalid, "mount "+m.Source, "cannot access path "+m.Subpath, fault.WithField("mount"),
		fault.WithCause(err))
}
