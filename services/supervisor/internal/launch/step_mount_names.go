package launch

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// mountNames mounts the file system for the container's name files.
func (l *launch) mountNames(after string) saga.Step {
	return saga.Step{
		Name: mountNames, After: needs(after),
		Do: func(context.Context) error { return l.r.NameFiles.Mount(l.id) },
		Undo: func(context.Context) error {
			if l.keepsFiles() {
				return nil
			}
			return l.r.NameFiles.Unmount(l.id)
		},
	}
}

// keepsFiles reports whether the name files are kept for joined containers.
func (l *launch) keepsFiles() bool { return l.r.Joins.Any(l.id) && !l.detachesSharers() }
