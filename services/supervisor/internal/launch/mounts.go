package launch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// checkSources checks the mount sources before the first step.
func checkSources(cfg *container.Config) error {
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

// directories lists created directories, parents first.
type directories []string

// createSources creates the missing sources of -v as directories, as in Docker. It removes them on
// failure.
func createSources(mounts []container.Mount) (directories, error) {
	var created directories
	for _, m := range mounts {
		if !m.CreateSource {
			continue
		}
		if _, err := os.Stat(m.Source); err == nil {
			continue // a directory, file, socket, device or FIFO
		}
		missing := missingParents(m.Source)
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			created.remove()
			return nil, fault.New(fault.Invalid, "mount "+m.Source, "cannot be created", fault.WithField("volume"),
				fault.WithCause(err))
		}
		created = append(created, missing...)
	}

	return created, nil
}

// isFile reports whether a bind source exists and is not a directory. It follows symlinks, as the
// mount does.
func isFile(source string) bool {
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

// remove removes the directories that are empty.
func (f directories) remove() {
	for i := len(f) - 1; i >= 0; i-- {
		_ = os.Remove(f[i])
	}
}
