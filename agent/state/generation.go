package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// generationName is the file in the data root that holds the generation.
const generationName = "generation"

// Generation returns the generation of a data root. It is empty if there is none yet.
func Generation(root string) (string, error) {
	path := filepath.Join(root, generationName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be read")
	}
	text := strings.TrimSpace(string(data))
	if !id.Valid(text) {
		return "", nil // an empty or damaged file: the stores contain the generation too
	}
	return text, nil
}

// claimGeneration sets the generation of a data root, unless it has one, and returns the current
// one.
func claimGeneration(root, wanted string) (string, error) {
	have, err := Generation(root)
	if err != nil || have != "" {
		return have, err
	}
	dir, err := os.Open(root) // locked because the services of a new host start concurrently
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "data-root "+root, "cannot be opened")
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "data-root "+root, "cannot be locked")
	}
	if have, err = Generation(root); err != nil || have != "" {
		return have, err
	}
	if wanted == "" {
		wanted = siblingGeneration(root)
	}
	if wanted == "" {
		wanted = id.New()
	}
	return linkGeneration(root, wanted)
}

// linkGeneration creates the file. The data root must be locked.
func linkGeneration(root, wanted string) (string, error) {
	path := filepath.Join(root, generationName)
	if _, err := os.Stat(path); err == nil { // damaged
		if err := os.Rename(path, path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be set aside")
		}
	}
	next, err := writeSynced(root, generationName, []byte(wanted+"\n"))
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be written")
	}
	defer func() { _ = os.Remove(next) }()
	if err := os.Link(next, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be written")
	}
	return Generation(root)
}

// siblingGeneration returns the generation in the logs of all stores, for when the file is lost. It
// is empty if the logs name none or several.
func siblingGeneration(root string) string {
	paths, _ := filepath.Glob(filepath.Join(root, backupName, "*.log"))
	found := ""
	for _, path := range paths {
		j, err := readJournal(path)
		if err != nil || j.Generation == "" {
			continue
		}
		if found != "" && found != j.Generation {
			return ""
		}
		found = j.Generation
	}
	return found
}

// writeSynced writes a temporary file to disk and returns its path.
func writeSynced(dir, name string, data []byte) (_ string, err error) {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
