package layers

import "slices"

// Known is a compressed form of a layer's archive that a registry has.
type Known struct {
	Digest     string
	Size       int64
	MediaType  string
	Repository string // full name, as in "docker.io/library/nginx"
}

// maxKnown bounds the list of one layer.
const maxKnown = 32

// Remember stores that a repository has a compressed form of a layer.
func (s *Store) Remember(diffID string, k Known) error {
	if m, err := readMeta(s.layerDir(diffID)); err != nil || slices.Contains(m.Blobs, k) {
		return err
	}
	return s.changeMeta(diffID, func(m *meta) error {
		m.Blobs = append(slices.DeleteFunc(m.Blobs, func(o Known) bool { return o == k }), k)
		if n := len(m.Blobs) - maxKnown; n > 0 {
			m.Blobs = slices.Delete(m.Blobs, 0, n)
		}
		return nil
	})
}

// KnownBlobs returns the compressed forms of a layer, the latest first.
func (s *Store) KnownBlobs(diffID string) []Known {
	m, err := readMeta(s.layerDir(diffID))
	if err != nil {
		return nil
	}
	slices.Reverse(m.Blobs)
	return m.Blobs
}
