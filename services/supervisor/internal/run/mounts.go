package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// checkSources finds what cannot be shown from the host, before anything is touched.
func checkSources(cfg *container.Config) error {
	for _, m := range cfg.Mounts {
		_, err := os.Stat(m.Source)
		switch {
		case err == nil:
		case !errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Invalid, "mount "+m.Source, "cannot be used", fault.WithField("volume"), fault.WithCause(err))
		case !m.CreateSource:
			return fault.Invalidf("mount "+m.Source, "mount", "bind source path does not exist: %s", m.Source)
		}
	}
	return nil
}

// folders are those that were made, parents first.
type folders []string

// makeSources makes the missing sources of -v as folders, as Docker does. If one cannot be made, none is left.
func makeSources(mounts []container.Mount) (folders, error) {
	var made folders
	for _, m := range mounts {
		if !m.CreateSource {
			continue
		}
		if _, err := os.Stat(m.Source); err == nil {
			continue // a directory, file, socket, device or FIFO
		}
		missing := missingParents(m.Source)
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			made.remove()
			return nil, fault.New(fault.Invalid, "mount "+m.Source, "cannot be made", fault.WithField("volume"), fault.WithCause(err))
		}
		made = append(made, missing...)
	}
	return made, nil
}

// isFile reports whether a bind source exists and is not a directory. It follows symlinks, as the mount does.
func isFile(source string) bool {
	info, err := os.Stat(source)
	return err == nil && !info.IsDir()
}

// missingParents are the folders that MkdirAll would make, parents first.
func missingParents(path string) []string {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return append(missingParents(filepath.Dir(path)), path)
}

// remove takes the folders away again, but for those that somebody has put something into.
func (f folders) remove() {
	for i := len(f) - 1; i >= 0; i-- {
		_ = os.Remove(f[i])
	}
}
