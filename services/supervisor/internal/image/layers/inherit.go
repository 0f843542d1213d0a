package layers

import (
	"errors"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

// Inherit copies owner, mode and times of implied directories from the layers below. An implied
// directory has no entry of its own: the layer contains /tmp/x but not /tmp. Otherwise an overlay
// mount would show it as root's with mode 0755. diffIDs are an image's layers, lowest first. Each
// layer is processed once, for the first image that uses it.
func (s *Store) Inherit(diffIDs []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range diffIDs {
		m, err := readMeta(s.layerDir(d))
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
		if err := errors.Join(writeMeta(s.layerDir(d), m), syncFS(s.dir)); err != nil {
			return DiskFault("layer "+Short(d), err)
		}
	}

	return nil
}

func (s *Store) inherit(diffID, path string, below []string) error {
	own, err := beneath.Open(s.Path(diffID))
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	if a, ok := own.Lookup(path); !ok || !a.IsDir() {
		return nil // reached through a symlink, whose target has its own entry
	}

	for _, d := range slices.Backward(below) {
		a, ok, err := s.lookup(d, path)
		switch {
		case err != nil:
			return err
		case !ok:
			continue
		case !a.IsDir():
			return nil // it hides the layers below
		}
		return own.SetDirAttributes(path, a)
	}

	return nil
}

// lookup returns the attributes of a path in a layer.
func (s *Store) lookup(diffID, path string) (a beneath.Attributes, ok bool, err error) {
	layer, err := beneath.Open(s.Path(diffID))
	if err != nil {
		return a, false, err
	}
	a, ok = layer.Lookup(path)
	return a, ok, layer.Close()
}
