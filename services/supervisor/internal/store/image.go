package store

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/platform"
)

// Image is an unpacked image. Its ID is the digest of its configuration.
type Image struct {
	ID        string    // sha256:…
	Tags      []string  // full references with tag: docker.io/library/nginx:latest
	Digests   []string  // full references with digest: docker.io/library/nginx@sha256:…
	Layers    []string  // diff IDs, lowest layer first
	Size      int64     // unpacked bytes
	Platform  string    // os/arch[/variant]
	CreatedAt time.Time // from the image configuration
	StoredAt  time.Time // time of the first pull, load or import
	Config    []byte    // the OCI image configuration as JSON, byte for byte
	TaggedAt  time.Time // time of the latest change of the tags; zero if unknown

	Manifest     []byte // the latest manifest that was pulled, loaded or pushed, byte for byte; empty if none was
	ManifestType string // its media type
}

// images maps IDs to images, indexed by tag, by digest and by layer.
var images = state.NewTable("images", func(i *Image) string { return i.ID },
	state.Index[Image]{Name: "tag", Of: func(i *Image) []string { return i.Tags }},
	state.Index[Image]{Name: "digest", Of: func(i *Image) []string { return i.Digests }},
	state.Index[Image]{Name: "layer", Of: func(i *Image) []string { return i.Layers }})

// AddImages stores images in one transaction and returns them as stored. An existing image keeps
// its names and gets the new ones. Tags move from other images of the same platform.
func (s *Store) AddImages(add ...*Image) ([]*Image, error) {
	out := make([]*Image, len(add))
	err := s.db.Update(func(tx *state.Tx) error {
		for _, img := range add {
			if err := putImage(tx, img); err != nil {
				return err
			}
		}
		for i, img := range add { // a tag may have moved to a later image
			out[i], _ = images.Get(tx, img.ID)
		}
		return nil
	})

	if err != nil {
		return nil, err
	}

	return out, nil
}

func putImage(tx *state.Tx, img *Image) error {
	n := *img
	if before, ok := images.Get(tx, img.ID); ok {
		n.Tags, n.Digests = union(before.Tags, img.Tags), union(before.Digests, img.Digests)
		n.StoredAt, n.TaggedAt = before.StoredAt, before.TaggedAt
		if len(n.Manifest) == 0 {
			n.Manifest, n.ManifestType = before.Manifest, before.ManifestType
		}
		if len(n.Tags) == len(before.Tags) && len(n.Digests) == len(before.Digests) &&
			bytes.Equal(n.Manifest, before.Manifest) {
			return nil // nothing to add
		}
		if len(n.Tags) > len(before.Tags) {
			n.TaggedAt = time.Now().UTC()
		}
	} else if len(n.Tags) > 0 {
		n.TaggedAt = time.Now().UTC()
	}

	err := moveTags(tx, img.Tags, func(other *Image) bool {
		return other.ID != n.ID && platform.Same(other.Platform, n.Platform)
	})
	if err != nil {
		return err
	}

	return images.Put(tx, &n)
}

// moveTags removes tags from the images that match.
func moveTags(tx *state.Tx, tags []string, match func(*Image) bool) error {
	for _, tag := range tags {
		for _, other := range slices.Collect(images.By(tx, "tag", tag)) {
			if !match(other) {
				continue
			}
			n := *other
			n.Tags = without(other.Tags, tag)
			if err := images.Put(tx, &n); err != nil {
				return err
			}
		}
	}

	return nil
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}

// GetImage returns the image with a full ID.
func (s *Store) GetImage(imageID string) (*Image, bool) { return images.Get(s.db.View(), imageID) }

// ImagesByName returns the images with a full reference, with tag or digest, the latest stored
// first. They have different platforms.
func (s *Store) ImagesByName(name string) []*Image {
	view := s.db.View()
	for _, index := range []string{"tag", "digest"} {
		found := slices.SortedFunc(images.By(view, index, name), func(a, b *Image) int {
			return cmp.Or(b.StoredAt.Compare(a.StoredAt), cmp.Compare(a.ID, b.ID))
		})
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// ContainersOfImage returns the number of containers that use an image.
func (s *Store) ContainersOfImage(imageID string) int {
	return len(s.containersOfImage(s.db.View(), imageID))
}

// ImagesByPrefix returns the images whose IDs have a hexadecimal prefix.
func (s *Store) ImagesByPrefix(digits string) []*Image {
	var out []*Image
	for img := range images.All(s.db.View()) {
		if strings.HasPrefix(strings.TrimPrefix(img.ID, "sha256:"), digits) {
			out = append(out, img)
		}
	}
	return out
}

// ListImages returns all images, newest first.
func (s *Store) ListImages() []*Image {
	return slices.SortedFunc(images.All(s.db.View()), func(a, b *Image) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// LayerUsed reports whether any image contains the layer.
func (s *Store) LayerUsed(diffID string) bool {
	for range images.By(s.db.View(), "layer", diffID) {
		return true
	}
	return false
}

// TagImages adds a tag to images of different platforms, and removes it from all other images.
func (s *Store) TagImages(imageIDs []string, tag string) error {
	return s.db.Update(func(tx *state.Tx) error {
		other := func(img *Image) bool { return !slices.Contains(imageIDs, img.ID) }
		if err := moveTags(tx, []string{tag}, other); err != nil {
			return err
		}
		for _, imageID := range imageIDs {
			img, ok := images.Get(tx, imageID)
			if !ok {
				return noSuchImage(imageID)
			}
			n := *img
			n.Tags, n.TaggedAt = union(img.Tags, []string{tag}), time.Now().UTC()
			if err := images.Put(tx, &n); err != nil {
				return err
			}
		}
		return nil
	})
}

// UpdateImage changes an image. It does nothing if the image does not exist.
func (s *Store) UpdateImage(imageID string, change func(*Image)) error {
	return s.db.Update(func(tx *state.Tx) error {
		img, ok := images.Get(tx, imageID)
		if !ok {
			return nil
		}
		n := *img
		n.Digests = slices.Clone(n.Digests)
		change(&n)
		return images.Put(tx, &n)
	})
}
