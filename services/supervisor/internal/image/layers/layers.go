// Package layers stores unpacked image layers. Each has a directory named by the digest of its tar
// archive (the diff ID):
//
//	<dir>/<diff id>/fs/                files, with whiteouts of overlayfs
//	<dir>/<diff id>/tar-split.json.gz  headers of the archive, to write it again byte for byte
//	<dir>/<diff id>/layer.json         size, and the implied directories
//	<dir>/<name>.tmp-<random>          unfinished work; Open removes it after a crash
//
// A layer is unpacked under a temporary name, synced to disk and renamed, so that an existing layer
// is complete. Package image calls this package and decides which layers are used. It does not
// depend on images, registries or mounts.
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
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	tmpMark    = ".tmp-"
	fsName     = "fs"
	metaName   = "layer.json"
	recordName = "tar-split.json.gz" // as in Docker
)

// Store is the layer directory.
type Store struct {
	dir      string
	inFlight inFlight

	mu   sync.Mutex // serializes the decision to remove a layer and its renaming
	held map[string]int
}

// meta is the content of layer.json.
type meta struct {
	Size    int64    // bytes in files
	Implied []string `json:",omitempty"` // directories without an entry of their own, until Inherit has processed them
	TarSize int64    `json:",omitempty"` // bytes of the archive; 0 if it is not recorded
	Inexact string   `json:",omitempty"` // why the archive cannot be written again; empty if it can
	Blobs   []Known  `json:",omitempty"` // compressed forms of the archive, the latest last
}

// Config configures Open.
type Config struct {
	Dir   string
	Used  func(diffID string) bool // reports whether an image has the layer
	Aside func() (string, error)   // creates a directory for layers whose images were lost; nil: they stay
	Keep  time.Duration            // age until which Open keeps the layers of interrupted pulls
	Log   *slog.Logger             // nil discards
}

// disposable is the mode bit of a layer that no image has used yet. Open deletes such a layer after
// a crash. An unused layer without this bit belongs to an image whose record was lost.
const disposable = fs.ModeSticky

// Open opens the directory, and creates it if it does not exist. It removes unfinished layers and
// old layers that no image ever used. Other layers without an image are set aside.
func Open(cfg Config) (*Store, error) {
	dir := cfg.Dir
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}

	// Other users have no access: layers contain set-uid programs.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "cannot be created")
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
		case !strings.Contains(e.Name(), tmpMark) && isResumable(info, cfg.Keep):
		case strings.Contains(e.Name(), tmpMark) || info.Mode()&disposable != 0:
			if err := os.RemoveAll(path); err != nil {
				return nil, fault.Wrap(err, fault.Unavailable, "layer store "+dir, "cannot remove stale files")
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

// Keep marks layers as used by a stored image. The next Open repeats a failed call.
func (s *Store) Keep(diffIDs ...string) {
	for _, d := range diffIDs {
		if info, err := os.Lstat(s.layerDir(d)); err == nil && info.Mode()&disposable != 0 {
			_ = os.Chmod(s.layerDir(d), info.Mode().Perm())
		}
	}
}

// Path returns the directory with the layer's files, for an overlay mount.
func (s *Store) Path(diffID string) string { return filepath.Join(s.layerDir(diffID), fsName) }

// Has reports whether the layer exists.
func (s *Store) Has(diffID string) bool {
	_, err := os.Lstat(s.layerDir(diffID))
	return err == nil
}

// Size returns the total size of the layer's files in bytes.
func (s *Store) Size(diffID string) (int64, error) {
	m, err := readMeta(s.layerDir(diffID))
	return m.Size, err
}

func (s *Store) layerDir(diffID string) string {
	return filepath.Join(s.dir, strings.TrimPrefix(diffID, "sha256:"))
}

// publish renames an unpacked directory to its final name. An existing layer is kept.
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

func readMeta(dir string) (m meta, err error) {
	data, err := os.ReadFile(filepath.Join(dir, metaName))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		err = fault.New(fault.Internal, "layer "+filepath.Base(dir), "cannot read layer.json", fault.WithCause(err),
			fault.WithHint("remove the images that use it and pull them again"))
	}
	return m, err
}

// writeMeta replaces the file atomically.
func writeMeta(dir string, m meta) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, metaName+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, metaName))
}

// syncFS flushes the file system of a directory. For thousands of small files this is much faster
// than fsync of each.
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
