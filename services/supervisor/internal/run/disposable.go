package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
)

// The directory of a container that is not in the store holds data of a user whose state was lost, unless it is disposable: it was
// created by a launch whose process never ran, or its removal has begun. The mode of the directory says so, which costs no file and no
// fsync, and survives a crash.

// keepData marks a container's directory as one that holds data.
func (r *Runner) keepData(uid string) error {
	err := os.Chmod(r.containerDir(uid), rootfs.DirectoryMode)
	return fault.Wrap(err, fault.Unavailable, "directory "+r.containerDir(uid), "cannot be changed")
}

// disposeData marks a container's directory as one that may be deleted. It does nothing if the directory does not exist.
func (r *Runner) disposeData(uid string) error {
	err := os.Chmod(r.containerDir(uid), rootfs.DirectoryMode|rootfs.Disposable)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.Wrap(err, fault.Unavailable, "directory "+r.containerDir(uid), "cannot be changed")
}

// forgetUnknown removes the directory of a container that is not in the store, or sets it aside if it holds data.
func (r *Runner) forgetUnknown(uid string) error {
	info, err := os.Lstat(r.containerDir(uid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "directory "+r.containerDir(uid), "cannot be read")
	}
	if info.Mode()&rootfs.Disposable != 0 {
		return r.relaunch(placeholderContainer(uid)).forget()
	}
	if err := r.RootFS.Unmount(uid); err != nil {
		return err
	}
	aside, err := state.Quarantine(r.DataRoot, "container")
	if err != nil {
		return err
	}
	if err := os.Rename(r.containerDir(uid), filepath.Join(aside, uid)); err != nil {
		return fault.Wrap(errors.Join(err, os.Remove(aside)), fault.Unavailable, "directory "+r.containerDir(uid), "cannot be set aside")
	}
	r.logFor(uid).Warn("data of an unknown container set aside", "quarantine", aside)
	return nil
}
