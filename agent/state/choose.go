package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fairlead/fairlead/proto/fault"
)

// choose applies the Choice to a lost store.
func (o *opener) choose(lost *loss) error {
	switch o.Choice {
	case Recover:
		return o.rebuild(lost)
	case StartEmpty:
		return o.startEmpty(lost)
	default:
		return o.refusal(lost)
	}
}

// refusal returns the error that names the choices.
func (o *opener) refusal(lost *loss) error {
	from := "from the other services and the kernel"
	if info, err := os.Stat(o.backup()); err == nil {
		from = "from the backup of " + info.ModTime().UTC().Format("2006-01-02 15:04") + " UTC and the commits since"
	} else if o.journal.Generation != "" {
		from = "from the log of its commits"
	}
	return fault.New(fault.Conflict, o.subject(), lost.why, fault.WithHint(
		"start once with --recover to rebuild it %s, or with --start-empty to start without its data, "+
			"or restore a backup: fairlead-agent restore FILE", from))
}

// startEmpty moves the store and its backups to the quarantine.
func (o *opener) startEmpty(lost *loss) error {
	dir, err := o.quarantine(o.path, o.backup(), o.previous(), o.log())
	if err != nil {
		return err
	}
	o.journal, o.backedUp, o.chosen = journal{}, false, true
	o.Config.Log.Warn("state set aside, starting empty", "path", o.path, "reason", lost.why, "quarantine", dir)
	return nil
}

// rebuild replaces the store by the latest state in the backups and the log.
func (o *opener) rebuild(lost *loss) error {
	next := o.path + ".rebuilt"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Unavailable, "file "+next, "cannot be removed")
	}
	from, serial, err := o.rebuildAt(next)
	if err != nil {
		return fault.Wrap(err, fault.Internal, o.subject(), "cannot be rebuilt")
	}
	if own, ok := readInfo(o.path); ok && (from == "" || own.generation == o.generation && own.serial > serial) {
		from, serial = o.path, own.serial
		err = copyFile(o.path, next)
	}
	aside := []string{o.path}
	if _, ok := o.journal.after(serial); !ok {
		aside, o.journal = append(aside, o.log()), journal{}
	}
	dir, qerr := o.quarantine(aside...)
	if err := errors.Join(err, qerr); err != nil {
		return err
	}
	o.chosen = true
	if from != "" {
		if err := os.Rename(next, o.path); err != nil {
			return fault.Wrap(err, fault.Unavailable, o.subject(), "cannot be replaced")
		}
	}
	o.Config.Log.Warn("state rebuilt", "path", o.path, "reason", lost.why, "from", from, "commits", serial,
		"quarantine", dir)
	return nil
}

// rebuildAt writes the state in the backups and the log to a file and returns its source. The
// source is empty if there is none.
func (o *opener) rebuildAt(next string) (from string, serial uint64, err error) {
	for _, path := range []string{o.backup(), o.previous()} {
		info, ok := readInfo(path)
		if !ok || info.generation != o.generation && o.generation != "" {
			continue
		}
		if from, serial, err = path, info.serial, copyFile(path, next); err != nil {
			return "", 0, err
		}
		break
	}
	if from == "" && o.journal.Generation != "" && o.journal.Base == 0 {
		from = o.log()
	}
	commits, ok := o.journal.after(serial)
	if from == "" || !ok || len(commits) == 0 && from != o.log() {
		return from, serial, nil
	}
	file, err := openBolt(next)
	if err != nil {
		return "", 0, err
	}
	err = guarded(func() error { return replay(file, o.generation, commits) })
	return from, serial + uint64(len(commits)), errors.Join(err, file.Close())
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	next, err := writeSynced(placeOf(to).root, placeOf(to).name, data)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return os.Rename(next, to)
}
