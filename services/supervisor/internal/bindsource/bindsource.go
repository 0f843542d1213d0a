// Package bindsource checks the sources of bind mounts on the host, and creates those that are missing.
//
// Package launch calls it. It mounts nothing.
package bindsource

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Check checks the sources of mounts, and creates none.
func Check(cfg *container.Config) error {
	for _, m := range cfg.Mounts {
		if m.Type != container.Bind {
			continue
		}
		_, err := os.Stat(m.Source)
		switch {
		case err == nil:
		case !errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Invalid, "mount "+m.Source, "cannot be used", fault.WithField("volume"),
				fault.WithCause(err))
		case !m.CreateSource:
			return fault.Invalidf("mount "+m.Source, "mount", "bind source path does not exist: %s", m.Source)
		}
	}
	return nil
}

// Created lists created directories, parents first.
type Created []string

// Create creates the missing sources of -v as directories, as in Docker. It removes them on
// failure.
func Create(mounts []container.Mount) (Created, error) {
	var created Created
	for _, m := range mounts {
		if !m.CreateSource {
			continue
		}
		if _, err := os.Stat(m.Source); err == nil {
			continue // a directory, file, socket, device or FIFO
		}
		missing := missingParents(m.Source)
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			created.Remove()
			return nil, fault.New(fault.Invalid, "mount "+m.Source, "cannot be created", fault.WithField("volume"),
				fault.WithCause(err))
		}
		created = append(created, missing...)
	}

	return created, nil
}

// IsFile reports whether a bind source exists and is not a directory. It follows symlinks, as the
// mount does.
func IsFile(source string) bool {
	info, err := os.Stat(source)
	return err == nil && !info.IsDir()
}

// missingParents returns the directories that MkdirAll would create, parents first.
func missingParents(path string) []string {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return append(missingParents(filepath.Dir(path)), path)
}

// Remove removes the directories that are empty.
func (f Created) Remove() {
	for i := len(f) - 1; i >= 0; i-- {
		_ = os.Remove(f[i])
	}
}
