package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// The directories next to the stores.
const (
	backupName     = "backup"
	quarantineName = "quarantine"
)

// place holds the path of a store and of the files that belong to it.
type place struct {
	path, root, name string
}

func placeOf(path string) place {
	return place{path: path, root: filepath.Dir(path), name: filepath.Base(path)}
}

func (p place) subject() string   { return "state file " + p.path }
func (p place) backup() string    { return filepath.Join(p.root, backupName, p.name) }
func (p place) previous() string  { return p.backup() + ".1" }
func (p place) log() string       { return strings.TrimSuffix(p.backup(), ".db") + ".log" }
func (p place) oldFormat() string { return p.path + ".v1" }

// quarantine moves existing files to a new directory of the quarantine and returns its path.
func (p place) quarantine(paths ...string) (string, error) {
	dir, err := Quarantine(p.root, p.name)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, path := range paths {
		if err := os.Rename(path, filepath.Join(dir, asideName(path))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be moved to "+dir))
		}
	}
	return dir, errors.Join(append(errs, syncDir(p.root))...)
}

// Quarantine creates a directory in the quarantine of a data root. Its name has the time and the
// given text.
func Quarantine(root, what string) (string, error) {
	all := filepath.Join(root, quarantineName)
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "directory "+all, "cannot be created")
	}
	dir, err := os.MkdirTemp(all, time.Now().UTC().Format("20060102T150405Z")+"-"+what+"-")
	return dir, fault.Wrap(err, fault.Unavailable, "directory "+all, "cannot be written")
}
