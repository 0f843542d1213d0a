package launch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
)

// A container directory without a stored container holds user data whose state was lost, unless it
// is disposable: created by a launch whose process never started, or being removed. The directory
// mode marks it, which needs no additional file or fsync and survives a crash.

// A process without stored state is left running, as its state was lost, unless the directory is
// marked as starting: then an earlier supervisor was killed before it could store the start.

// markStarting marks a container directory as holding data of a process whose start is not stored
// yet.
func (r *Launcher) markStarting(uid string) error {
	err := os.Chmod(r.Dir(uid), rootfs.DirectoryMode|rootfs.Starting)
	return fault.Wrap(err, fault.Unavailable, "directory "+r.Dir(uid), "cannot be changed")
}

// UnmarkStarting removes the mark of a start that is stored or undone.
func (r *Launcher) UnmarkStarting(uid string) {
	if !r.IsStarting(uid) {
		return
	}
	if err := os.Chmod(r.Dir(uid), rootfs.DirectoryMode); err != nil {
		r.LogFor(uid).Warn("container directory still marked as starting", "error", err)
	}
}

// IsStarting reports whether a start of the container was interrupted, or is in progress.
func (r *Launcher) IsStarting(uid string) bool {
	info, err := os.Lstat(r.Dir(uid))
	return err == nil && info.Mode()&rootfs.Starting != 0
}

// DisposeData marks a container directory as disposable. It does nothing if the directory does not
// exist.
func (r *Launcher) DisposeData(uid string) error {
	err := os.Chmod(r.Dir(uid), rootfs.DirectoryMode|rootfs.Disposable)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.Wrap(err, fault.Unavailable, "directory "+r.Dir(uid), "cannot be changed")
}

// RemoveUnknown removes the directory of a container that is not in the store.
// A directory that holds data is quarantined instead.
func (r *Launcher) RemoveUnknown(uid string) error {
	info, err := os.Lstat(r.Dir(uid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "directory "+r.Dir(uid), "cannot be read")
	}

	if info.Mode()&rootfs.Disposable != 0 {
		return r.RemoveFiles(uid)
	}

	if err := r.RootFS.Unmount(uid); err != nil {
		return err
	}

	aside, err := state.Quarantine(r.DataRoot, "container")
	if err != nil {
		return err
	}

	if err := os.Rename(r.Dir(uid), filepath.Join(aside, uid)); err != nil {
		return fault.Wrap(errors.Join(err, os.Remove(aside)), fault.Unavailable, "directory "+r.Dir(uid),
			"cannot be quarantined")
	}

	r.LogFor(uid).Warn("data of unknown container quarantined", "quarantine", aside)
	return nil
}
