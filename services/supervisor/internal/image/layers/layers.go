// Package layers keeps unpacked image layers, each in a folder of its own under the digest of its tar archive (the diff id):
//
//	<dir>/<diff id>/fs/         what the layer holds, with overlayfs's own whiteouts
//	<dir>/<diff id>/layer.json  its size, and the folders that it only implies
//	<dir>/<name>.tmp-<random>   work that is not finished; what a crash left is removed by Open
//
// A layer is filled under a temporary name, synced to disk and then renamed, so that a layer that is there is whole. The
// package knows nothing of images, registries and mounts: its callers say which layers are used.
package layers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	tmpMark  = ".tmp-"
	fsName   = "fs"
	metaName = "layer.json"
)

// Store is the folder of layers.
type Store struct {
	dir     string
	flights inFlight

	mu   sync.Mutex // over the decision whether a layer may go, and the renaming that makes it go
	held map[string]int
}

// meta is layer.json.
type meta struct {
	Size    int64    // bytes in files
	Implied []string `json:",omitempty"` // folders that have no entry of their own, until Inherit has seen to them
}

// Config says what Open needs.
type Config struct {
	Dir   string
	Used  func(diffID string) bool // reports whether an image has the layer
	Aside func() (string, error)   // creates a directory for layers whose images were lost; nil: they stay
	Log   *slog.Logger             // nil discards
}

// disposable is the mode of a layer that no image has had yet, so that it can be deleted after a crash. A layer without it
// is data of an image whose record was lost.
const disposable = fs.ModeSticky

// Open opens the directory, creates it if it does not exist, and removes unfinished layers and those that no image ever had.
// Others without an image are set aside.
func Open(cfg Config) (*Store, error) {
	dir := cfg.Dir
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// Not for others to enter: layers hold set-uid programs.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "cannot be made")
	}
	s := &Store{dir: dir, held: map[string]int{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "cannot be read")
	}
	var lost []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		switch {
		case err != nil:
			return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "cannot be read")
		case !strings.Contains(e.Name(), tmpMark) && cfg.Used("sha256:"+e.Name()):
			s.Keep("sha256:" + e.Name())
		case strings.Contains(e.Name(), tmpMark) || info.Mode()&disposable != 0:
			if err := os.RemoveAll(path); err != nil {
				return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "leftovers cannot be removed")
			}
		default:
			lost = append(lost, path)
		}
	}
	return s, setAside(cfg, lost)
}

// setAside moves layers whose images were lost out of the store.
func setAside(cfg Config, paths []string) error {
	if len(paths) == 0 || cfg.Aside == nil {
		return nil
	}
	dir, err := cfg.Aside()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			return fault.Wrap(err, fault.Unavailable, "layer "+filepath.Base(path), "cannot be set aside")
		}
	}
	cfg.Log.Warn("layers of unknown images set aside", "layers", len(paths), "quarantine", dir)
	return nil
}

// Keep marks layers as those of a stored image. What fails is done by the next Open.
func (s *Store) Keep(diffIDs ...string) {
	for _, d := range diffIDs {
		if info, err := os.Lstat(s.layerDir(d)); err == nil && info.Mode()&disposable != 0 {
			_ = os.Chmod(s.layerDir(d), info.Mode().Perm())
		}
	}
}

// Path is the folder with the layer's files, for an overlay mount.
func (s *Store) Path(diffID string) string { return filepath.Join(s.layerDir(diffID), fsName) }

// Has tells whether the layer is there.
func (s *Store) Has(diffID string) bool {
	_, err := os.Lstat(s.layerDir(diffID))
	return err == nil
}

// Size is how many bytes the layer's files have.
func (s *Store) Size(diffID string) (int64, error) {
	m, err := readMeta(s.layerDir(diffID))
	return m.Size, err
}

func (s *Store) layerDir(diffID string) string {
	return filepath.Join(s.dir, strings.TrimPrefix(diffID, "sha256:"))
}

// Hold keeps layers from being swept, whether they are there already or only about to be. Each Hold needs one Release.
func (s *Store) Hold(diffIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range diffIDs {
		s.held[d]++
	}
}

// Release undoes a Hold and sweeps those of the layers that nobody uses.
func (s *Store) Release(used func(diffID string) bool, diffIDs ...string) ([]string, error) {
	s.mu.Lock()
	for _, d := range diffIDs {
		if s.held[d]--; s.held[d] <= 0 {
			delete(s.held, d)
		}
	}
	s.mu.Unlock()
	return s.Sweep(used, diffIDs...)
}

// Sweep removes those of the layers that are neither held nor used, and tells which.
func (s *Store) Sweep(used func(diffID string) bool, diffIDs ...string) ([]string, error) {
	gone, tmp, err := s.detach(used, diffIDs)
	for _, t := range tmp {
		err = errors.Join(err, os.RemoveAll(t))
	}
	return gone, fault.Wrap(err, fault.Unavailable, "layer store "+s.dir, "layers cannot be removed")
}

// detach renames what is to go, so that nobody finds a layer of which a part is gone.
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

// publish gives a filled folder its lasting name. If the layer is there already, that one stays.
func (s *Store) publish(tmp, diffID string, m meta) error {
	if err := writeMeta(tmp, m); err != nil {
		return err
	}
	if err := syncFS(tmp); err != nil {
		return err
	}
	info, err := os.Lstat(tmp)
	if err == nil {
		err = os.Chmod(tmp, info.Mode().Perm()|disposable)
	}
	if err != nil {
		return err
	}
	err = os.Rename(tmp, s.layerDir(diffID))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return os.RemoveAll(tmp)
	}
	if err != nil {
		return err
	}
	return syncDir(s.dir)
}

func readMeta(home string) (m meta, err error) {
	data, err := os.ReadFile(filepath.Join(home, metaName))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		err = fault.New(fault.Internal, "layer "+filepath.Base(home), "its description cannot be read", fault.WithCause(err),
			fault.WithHint("remove the images that have it and pull them again"))
	}
	return m, err
}

// writeMeta replaces the file in one step.
func writeMeta(home string, m meta) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := filepath.Join(home, metaName+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(home, metaName))
}

// syncFS writes out all that the file system of a folder has not written yet: for thousands of small files it is much
// faster than one fsync each.
func syncFS(dir string) error { return withDir(dir, unix.Syncfs) }

func syncDir(dir string) error { return withDir(dir, unix.Fsync) }

func withDir(dir string, do func(fd int) error) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := do(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
