package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/proto/fault"
)

// manifestName is the manifest file of an archive.
const manifestName = "MANIFEST.json"

// Manifest describes an archive.
type Manifest struct {
	Agent      string    `json:"agent"` // the version of the agent that created it
	Made       time.Time `json:"made"`
	Generation string    `json:"generation"`
	Stores     []Archived
}

// Archived is a store in an archive.
type Archived struct {
	Name    string `json:"name"`
	Format  int    `json:"format"`
	Version int    `json:"version"`
	Commits uint64 `json:"commits"`
	Records int    `json:"records"`
}

// Save copies the stores of a data root to an empty directory. Agents can have them open and write
// to them. Each copy has the state after a commit. Copies of different stores can be a few commits
// apart, as after a crash.
func Save(ctx context.Context, root, to, agent string) (Manifest, error) {
	m := Manifest{Agent: agent, Made: time.Now().UTC()}
	var err error
	if m.Generation, err = Generation(root); err != nil {
		return m, err
	}
	paths, err := filepath.Glob(filepath.Join(root, "*.db"))
	if err != nil {
		return m, err
	}
	if len(paths) == 0 {
		return m, fault.New(fault.NotFound, "data-root "+root, "has no state files")
	}
	for _, path := range paths {
		a, err := saveOne(ctx, path, filepath.Join(to, filepath.Base(path)))
		if err != nil {
			return m, err
		}
		m.Stores = append(m.Stores, a)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	return m, os.WriteFile(filepath.Join(to, manifestName), append(text, '\n'), 0o600)
}

// saveTries is the number of attempts to copy a store that is being written.
const saveTries = 200

// saveOne copies one store. bbolt does not overwrite pages of the last commit before the next one
// is complete, so a copy is consistent if no commit completed during the copy.
func saveOne(ctx context.Context, from, to string) (a Archived, err error) {
	subject := "state file " + from
	for try := 0; ; try++ {
		data, rerr := os.ReadFile(from)
		if rerr != nil {
			return a, fault.Wrap(rerr, fault.Unavailable, subject, "cannot be read")
		}
		whole := verifyBytes(data)
		same, serr := unchanged(from, data)
		if serr != nil {
			return a, serr
		}
		if whole == nil && same {
			return storeCopy(data, to)
		}
		if try == saveTries || same {
			return a, fault.New(fault.Unavailable, subject, "cannot be copied", fault.WithCause(whole),
				fault.WithHint("if the file is damaged, start the agent with --recover"))
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return a, err
		}
	}
}

// unchanged reports whether the last commit of a file is the one in a copy.
func unchanged(path string, data []byte) (bool, error) {
	now, err := readHead(path)
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "state file "+path, "cannot be read")
	}
	before, berr := newestMeta(data)
	after, aerr := newestMeta(now)
	return (berr == nil) == (aerr == nil) && before.txid == after.txid, nil
}

// readHead reads the part of a file that holds both meta pages.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 128<<10)
	n, err := f.Read(head)
	if n == 0 && err != nil {
		return nil, nil // an empty file
	}
	return head[:n], nil
}

func storeCopy(data []byte, to string) (a Archived, err error) {
	next, err := writeSynced(filepath.Dir(to), filepath.Base(to), data)
	if err != nil {
		return a, fault.Wrap(err, fault.Unavailable, "file "+to, "cannot be written")
	}
	if err := os.Rename(next, to); err != nil {
		return a, fault.Wrap(err, fault.Unavailable, "file "+to, "cannot be written")
	}
	in, ok := readInfo(to)
	if !ok {
		return a, fault.New(fault.Internal, "file "+to, "is not a state file")
	}
	return Archived{Name: filepath.Base(to), Format: in.format, Version: in.version, Commits: in.serial,
		Records: in.records}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Restore replaces the stores of a data root by those in a directory and moves the former ones to
// the quarantine. No agent may run. only selects stores by file name, such as "net.db"; empty means
// all. The stores get the generation of the data root. All are verified before any is replaced.
func Restore(root, from string, only ...string) (restored []string, aside string, err error) {
	paths, err := chosen(from, only)
	if err != nil {
		return nil, "", err
	}
	generation, err := restoredGeneration(root, paths)
	if err != nil {
		return nil, "", err
	}
	var ready []string
	defer func() {
		for _, path := range ready {
			_ = os.Remove(path)
		}
	}()
	for _, path := range paths {
		next := filepath.Join(root, filepath.Base(path)+".restored")
		if err := copyFile(path, next); err != nil {
			return nil, "", fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be copied")
		}
		ready = append(ready, next)
		if err := stamp(next, generation); err != nil {
			return nil, "", fault.Wrap(err, fault.Unavailable, "file "+next, "cannot be written")
		}
	}
	if _, err := claimGeneration(root, generation); err != nil {
		return nil, "", err
	}
	aside, err = Quarantine(root, "restore")
	if err != nil {
		return nil, "", err
	}
	for i, path := range paths {
		if err := replace(placeOf(filepath.Join(root, filepath.Base(path))), ready[i], aside); err != nil {
			return restored, aside, err
		}
		restored = append(restored, filepath.Base(path))
	}
	return restored, aside, syncDir(root)
}

// chosen returns the stores of a directory to restore.
func chosen(from string, only []string) (paths []string, err error) {
	all, err := filepath.Glob(filepath.Join(from, "*.db"))
	if err != nil {
		return nil, err
	}
	for _, path := range all {
		if len(only) > 0 && !slices.Contains(only, filepath.Base(path)) {
			continue
		}
		if _, ok := readInfo(path); !ok {
			return nil, fault.New(fault.Invalid, "file "+path, "is not a complete state file",
				fault.WithCause(verify(path)))
		}
		paths = append(paths, path)
	}
	if len(paths) < max(len(only), 1) {
		return nil, fault.New(fault.NotFound, "backup "+from,
			"has no "+strings.Join(append(slices.Clone(only), "*.db")[:max(len(only), 1)], " or no "))
	}
	return paths, nil
}

// restoredGeneration returns the generation for the restored stores.
func restoredGeneration(root string, paths []string) (string, error) {
	have, err := Generation(root)
	if err != nil || have != "" {
		return have, err
	}
	for _, path := range paths {
		in, _ := readInfo(path)
		if have != "" && in.generation != "" && in.generation != have {
			return "", fault.New(fault.Invalid, "file "+path,
				"is from another host or time than the other files of the backup",
				fault.WithHint("restore one backup at a time"))
		}
		if have == "" {
			have = in.generation
		}
	}
	return have, nil
}

// stamp writes the generation to a copy of a store. A store of format 1 has none before its first
// open.
func stamp(path, generation string) error {
	in, ok := readInfo(path)
	if !ok || in.format < format || in.generation == generation || generation == "" {
		return nil
	}
	file, err := openBolt(path)
	if err != nil {
		return err
	}
	err = guarded(func() error {
		return file.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(metaBucket).Put(generationKey,
				[]byte(generation))
		})
	})
	return errors.Join(err, file.Close())
}

// replace moves a store with its backups and log aside and puts the new store in its path.
func replace(p place, next, aside string) error {
	for _, path := range []string{p.path, p.backup(), p.previous(), p.log()} {
		if err := os.Rename(path, filepath.Join(aside, asideName(path))); err != nil &&
			!errors.Is(err, os.ErrNotExist) {
			return fault.Wrap(err, fault.Unavailable, "file "+path, "cannot be set aside")
		}
	}
	return fault.Wrap(os.Rename(next, p.path), fault.Unavailable, p.subject(), "cannot be replaced")
}

// asideName returns the file name in the quarantine. Backups get a prefix because they have the
// names of their stores.
func asideName(path string) string {
	if filepath.Base(filepath.Dir(path)) == backupName {
		return fmt.Sprintf("%s-%s", backupName, filepath.Base(path))
	}
	return filepath.Base(path)
}
