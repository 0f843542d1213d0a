package launch

import (
	"context"
	"errors"
	"os"
	"time"

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
			if err := l.r.Store.AddContainer(c); err != nil {
				return err
			}
			l.c = c
			l.r.Names.Drop(l.name)
			return nil
		},
		Undo: func(context.Context) error {
			return errors.Join(l.r.Store.DeleteContainer(l.id), l.r.RootFS.Remove(l.id),
				os.RemoveAll(l.r.Dir(l.id)))
		},
	}
}
