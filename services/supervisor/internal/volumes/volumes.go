// Package volumes keeps the files of volumes: it creates, mounts, fills, measures and deletes them.
// Records belong to package store, which decides whether a volume is in use; options to package
// volume. Packages launch and run use it.
//
//	<data root>/volumes/<name>/_data   the data, or where the options of the volume mount it
//	<data root>/volumes/<name>/.copy   a copy of files of an image, in progress
//	<data root>/volumes/<name>/.ready  a complete copy, which is being moved to _data
//	<data root>/volumes/<name>/.subpath-…  a path below _data, while the runtime mounts it
//
// A record is stored before its directory is created, and deleted after it. A directory without a
// record is data whose record was lost: it is quarantined, never deleted.
package volumes

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

const (
	dataName  = "_data"
	copyName  = ".copy"
	readyName = ".ready"
)

// Config holds the dependencies of Volumes.
type Config struct {
	DataRoot string
	Store    *store.Store
	Events   *events.Broker // receives volume events; nil means none
	Log      *slog.Logger
}

// Volumes keeps the files of volumes.
type Volumes struct {
	Config
	locks keylock.Mutex[string] // by name: creation, mounts, copies and removal of one volume
}

// New returns Volumes.
func New(cfg Config) *Volumes { return &Volumes{Config: cfg} }

func (v *Volumes) root() string           { return filepath.Join(v.DataRoot, "volumes") }
func (v *Volumes) dir(name string) string { return filepath.Join(v.root(), name) }

// Path returns the directory of a volume's data.
func (v *Volumes) Path(name string) string { return filepath.Join(v.dir(name), dataName) }

// Find returns the volume with a name.
func (v *Volumes) Find(name string) (*volume.Volume, error) { return v.Store.GetVolume(name) }

// List returns all volumes, sorted by name.
func (v *Volumes) List() []*volume.Volume { return v.Store.ListVolumes() }

// Users returns the IDs of the containers that use a volume, running or not.
func (v *Volumes) Users(name string) []string { return v.Store.VolumeUsers(name) }

// Create stores a volume and creates its directory. Idempotent.
func (v *Volumes) Create(ctx context.Context, want *volume.Volume) (*volume.Volume, error) {
	unlock, err := v.locks.LockContext(ctx, want.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	_, err = v.Store.GetVolume(want.Name)
	created := fault.Is(err, fault.NotFound)
	got, err := v.Store.AddVolume(want)
	if err != nil {
		return nil, err
	}
	if err := v.ensureDir(got.Name); err != nil {
		return nil, err
	}
	if created {
		v.emit("create", got, nil)
	}

	return got, nil
}

// Announce emits the events of volumes that were stored with a container.
func (v *Volumes) Announce(names []string) {
	for _, name := range names {
		if vol, err := v.Store.GetVolume(name); err == nil {
			v.emit("create", vol, nil)
		}
	}
}

// emit emits an event of a volume.
func (v *Volumes) emit(action string, vol *volume.Volume, more map[string]string) {
	if v.Events == nil {
		return
	}
	attributes := map[string]string{"driver": vol.Driver}
	for key, value := range more {
		attributes[key] = value
	}
	v.Events.Emit(events.Volume, action, vol.Name, attributes)
}

// ensureDir creates the directory of a volume. The lock of the volume must be held.
func (v *Volumes) ensureDir(name string) error {
	dir := v.Path(name)
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return nil
	}
	err := os.MkdirAll(v.dir(name), 0o701)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // independent of the umask
	}
	if err == nil {
		err = syncDir(v.root())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return diskFault(name, "cannot be created", err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func diskFault(name, message string, err error) error {
	kind, hint := fault.Unavailable, ""
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		kind, hint = fault.Exhausted, "free space on the disk of --data-root"
	}
	return fault.New(kind, volume.Subject(name), message, fault.WithCause(err), fault.WithHint("%s", hint))
}

// Remove removes a volume that no container uses, with its data. It is completed by the next agent if
// this one is killed.
func (v *Volumes) Remove(ctx context.Context, name string) error {
	if err := volume.ValidateName(name); err != nil {
		return volume.NotFound(name)
	}
	if err := v.Store.MarkVolume(name); err != nil {
		return err
	}
	return v.delete(context.WithoutCancel(ctx), name)
}

// Prune removes the selected volumes that no container uses. It returns their names, and the bytes
// that they occupied.
func (v *Volumes) Prune(ctx context.Context, s volume.Selection) (deleted []string, reclaimed int64, err error) {
	names, err := v.Store.MarkVolumes(s.Includes)
	if err != nil {
		return nil, 0, err
	}

	var errs []error
	for _, name := range names {
		size, _ := v.Size(ctx, name)
		if err := v.delete(context.WithoutCancel(ctx), name); err != nil {
			errs = append(errs, err)
			continue
		}
		deleted, reclaimed = append(deleted, name), reclaimed+size
	}

	return deleted, reclaimed, errors.Join(errs...)
}

// RemoveMarked deletes the data and records of all volumes that are marked as being removed.
func (v *Volumes) RemoveMarked(ctx context.Context) error {
	var errs []error
	for _, name := range v.Store.MarkedVolumes() {
		errs = append(errs, v.delete(context.WithoutCancel(ctx), name))
	}
	return errors.Join(errs...)
}

// delete deletes the data, then the record of a marked volume. What the options of the volume mount is
// unmounted and kept.
func (v *Volumes) delete(ctx context.Context, name string) error {
	unlock, err := v.locks.LockContext(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()

	vol, err := v.Store.GetVolume(name)
	if fault.Is(err, fault.NotFound) || err == nil && !vol.Removing {
		return nil
	}
	if err == nil {
		err = errors.Join(v.removeSubpaths(name), v.unmount(name))
	}
	if err != nil {
		return err
	}

	if err := beneath.Remove(v.dir(name)); err != nil {
		return diskFault(name, "cannot be deleted", err)
	}
	if err := v.Store.DeleteVolume(name); err != nil {
		return err
	}
	v.emit("destroy", vol, nil)
	return nil
}

// Restore completes what an earlier agent began, and quarantines directories without a record.
func (v *Volumes) Restore(ctx context.Context) error {
	errs := []error{v.RemoveMarked(ctx)}
	entries, err := os.ReadDir(v.root())
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errs...)
	}
	errs = append(errs, err)
	for _, e := range entries {
		if _, err := v.Store.GetVolume(e.Name()); fault.Is(err, fault.NotFound) {
			errs = append(errs, v.quarantine(e.Name()))
			continue
		}
		errs = append(errs, v.removeSubpaths(e.Name()), v.completeCopy(e.Name()))
	}
	return errors.Join(errs...)
}

// quarantine moves a directory without a record to the quarantine.
func (v *Volumes) quarantine(name string) error {
	aside, err := state.Quarantine(v.DataRoot, "volume")
	if err != nil {
		return err
	}
	if err := os.Rename(v.dir(name), filepath.Join(aside, name)); err != nil {
		return diskFault(name, "cannot be quarantined", errors.Join(err, os.Remove(aside)))
	}
	v.Log.Warn("data of unknown volume quarantined", "volume", name, "quarantine", aside)
	return nil
}

// Size returns the bytes that the data of a volume occupies on the disk. It is 0 for what the options
// of a volume mount.
func (v *Volumes) Size(ctx context.Context, name string) (int64, error) {
	vol, err := v.Store.GetVolume(name)
	if err != nil || len(vol.Options) > 0 {
		return 0, err
	}
	root, err := beneath.Open(v.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, diskFault(name, "cannot be read", err)
	}
	defer func() { _ = root.Close() }()
	return root.Usage(ctx)
}
