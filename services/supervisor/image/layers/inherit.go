package layers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inherit gives folders that a layer only implies (it has /tmp/x and no entry for /tmp) the owner, mode and time that they
// have in the layers below. Without it an overlay mount would show them as root's with mode 0755. diffIDs are an image's
// layers, lowest first. A layer is looked at once, with the first image that has it.
func (s *Store) Inherit(diffIDs []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range diffIDs {
		m, err := readMeta(s.home(d))
		if err != nil {
			return err
		}
		if len(m.Implied) == 0 {
			continue
		}
		for _, path := range m.Implied {
			if err := s.inherit(d, path, diffIDs[:i]); err != nil {
				return DiskFault("layer "+Short(d), err)
			}
		}
		m.Implied = nil
		if err := errors.Join(writeMeta(s.home(d), m), syncFS(s.dir)); err != nil {
			return DiskFault("layer "+Short(d), err)
		}
	}
	return nil
}

func (s *Store) inherit(diffID, path string, below []string) error {
	own := filepath.Join(s.Path(diffID), path)
	if fi := lstatUnder(s.Path(diffID), path); fi == nil || !fi.IsDir() {
		return nil // reached through a symlink, whose target has its own entry
	}
	for i := len(below) - 1; i >= 0; i-- {
		fi := lstatUnder(s.Path(below[i]), path)
		if fi == nil {
			continue
		}
		if !fi.IsDir() {
			return nil // it hides what is further below
		}
		return copyAttributes(own, fi)
	}
	return nil
}

// lstatUnder looks at a path without ever following a symlink.
func lstatUnder(root, path string) os.FileInfo {
	at := root
	var fi os.FileInfo
	for part := range strings.SplitSeq(path, "/") {
		if fi != nil && !fi.IsDir() {
			return nil
		}
		at = filepath.Join(at, part)
		var err error
		if fi, err = os.Lstat(at); err != nil {
			return nil
		}
	}
	return fi
}

func copyAttributes(path string, from os.FileInfo) error {
	st := from.Sys().(*syscall.Stat_t)
	if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := os.Chmod(path, from.Mode()); err != nil {
		return err
	}
	ts := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
}
