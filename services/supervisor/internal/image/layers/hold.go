package layers

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Hold protects layers from Sweep, even before they exist. Each Hold needs one Release.
func (s *Store) Hold(diffIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range diffIDs {
		s.held[d]++
	}
}

// Release undoes a Hold and sweeps the layers that are not used.
func (s *Store) Release(used func(diffID string) bool, diffIDs ...string) ([]string, error) {
	s.Abandon(diffIDs...)
	return s.Sweep(used, diffIDs...)
}

// Abandon undoes a Hold of an interrupted pull. It keeps complete layers, so that the next pull
// does not download them again.
func (s *Store) Abandon(diffIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range diffIDs {
		if s.held[d]--; s.held[d] <= 0 {
			delete(s.held, d)
		}
	}
}

// isResumable reports whether a layer was completed by an interrupted pull within an age.
func isResumable(info fs.FileInfo, age time.Duration) bool {
	return info.Mode()&disposable != 0 && time.Since(info.ModTime()) < age
}

// SweepResumable removes the layers of interrupted pulls that are older than an age, and returns
// their size.
func (s *Store) SweepResumable(used func(diffID string) bool, age time.Duration) (freed int64, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fault.Wrap(err, fault.Unavailable, "layer store "+s.dir, "cannot be read")
	}

	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.Contains(e.Name(), tmpMark) || info.Mode()&disposable == 0 ||
			isResumable(info, age) {
			continue
		}
		size, _ := s.Size("sha256:" + e.Name())
		gone, err := s.Sweep(used, "sha256:"+e.Name())
		if err != nil {
			return freed, err
		}
		freed += size * int64(len(gone))
	}

	return freed, nil
}

// Sweep removes those of the given layers that are neither held nor used, and returns their diff
// IDs.
func (s *Store) Sweep(used func(diffID string) bool, diffIDs ...string) ([]string, error) {
	gone, tmp, err := s.detach(used, diffIDs)
	for _, t := range tmp {
		err = errors.Join(err, os.RemoveAll(t))
	}
	return gone, fault.Wrap(err, fault.Unavailable, "layer store "+s.dir, "cannot remove layers")
}

// detach renames the layers to remove, so that no caller finds a partially removed layer.
func (s *Store) detach(used func(string) bool, diffIDs []string) (gone, tmp []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range diffIDs {
		if s.held[d] > 0 || used(d) || !s.Has(d) {
			continue
		}
		t, terr := os.MkdirTemp(s.dir, filepath.Base(s.layerDir(d))+tmpMark)
		if terr != nil {
			return gone, tmp, errors.Join(err, terr)
		}
		tmp = append(tmp, t)
		if rerr := os.Rename(s.layerDir(d), filepath.Join(t, fsName)); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		gone = append(gone, d)
	}

	return gone, tmp, err
}
