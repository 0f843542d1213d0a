package launch

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// reserveName reserves or generates the container's name. The reservation is in memory until the
// name is stored.
func (l *launch) reserveName() saga.Step {
	taken := func(name string) bool {
		return l.r.Store.NameFree(name) != nil || !l.r.Names.Take(name)
	}

	return saga.Step{
		Name: reserveName,
		Do: func(context.Context) error {
			want := l.req.Config.Name
			if want == "" {
				l.name = container.GenerateName(taken)
				return nil
			}
			if err := l.r.Store.NameFree(want); err != nil {
				return err
			}
			if !l.r.Names.Take(want) {
				return container.NameTaken(want)
			}
			l.name = want
			return nil
		},
		Undo: func(context.Context) error {
			if l.name != "" {
				l.r.Names.Drop(l.name)
			}
			return nil
		},
	}
}

// storeContainer stores the container. Later steps do not depend on it and run concurrently with
// the commit.
func (l *launch) storeContainer() saga.Step {
	return saga.Step{
		Name: storeContainer, After: []string{resolveImage},
		Do: func(context.Context) error {
			runtime, err := l.r.Processes.Runtime(l.req.Config.Runtime)
			if err != nil {
				return err
			}
			cfg := l.req.Config
			cfg.Name = l.name
			c := &container.Container{ID: l.id, Config: cfg, ImageID: l.image.ID, Process: *l.process,
				Status: l.initial, CreatedAt: time.Now(), RuntimePath: runtime}
			missing, err := l.r.missingVolumes(cfg.Mounts)
			if err != nil {
				return err
			}
			if l.createdVolumes, err = l.r.Store.AddContainerWithVolumes(c, missing); err != nil {
				return err
			}
			l.c = c
			close(l.stored)
			l.r.Names.Drop(l.name)
			l.r.Volumes.Announce(l.createdVolumes)
			return nil
		},
		Undo: func(ctx context.Context) error {
			return errors.Join(l.unstore(ctx), l.r.RootFS.Remove(l.id), os.RemoveAll(l.r.Dir(l.id)))
		},
	}
}

// unstore deletes the container and the volumes that were created for it. A named volume is kept once
// a process could write to it.
func (l *launch) unstore(ctx context.Context) error {
	var errs []error
	if l.c != nil && len(l.c.AnonymousVolumes()) > 0 {
		_, err := l.r.Store.UpdateContainer(l.id,
			func(c *container.Container) *container.Container { return c.WithVolumesRemoved(true) })
		errs = append(errs, err)
	}
	errs = append(errs, l.r.Store.DeleteContainer(l.id), l.r.Volumes.RemoveMarked(ctx))
	for _, name := range l.createdVolumes {
		if l.processStarted {
			break
		}
		if err := l.r.Volumes.Remove(ctx, name); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Busy) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
