package supervisor

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Users returns the subjects of containers whose process runs.
func (s *Service) Users() (all []string) {
	for _, c := range s.store.ListContainers() {
		if c.IsRunning() && c.Live.PID > 0 && !errors.Is(unix.Kill(c.Live.PID, 0), unix.ESRCH) {
			all = append(all, c.Subject())
		}
	}
	return all
}

// Clean does nothing, as stopped containers have resources on disk only.
func (s *Service) Clean(context.Context) error { return nil }
