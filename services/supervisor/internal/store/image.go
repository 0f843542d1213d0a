package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
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
	Config    []byte    // the OCI image configuration as JSON
}

// images maps IDs to images, indexed by tag, by digest and by layer.
var images = state.NewTable("images", func(i *Image) string { return i.ID },
	state.Index[Image]{Name: "tag", Of: func(i *Image) []string { return i.Tags }},
	state.Index[Image]{Name: "digest", Of: func(i *Image) []string { return i.Digests }},
	state.Index[Image]{Name: "layer", Of: func(i *Image) []string { return i.Layers }})

// AddImages stores images in one transaction and returns them as stored. An existing image keeps
// its names and gets the new ones. Tags move from other images.
func (s *Store) AddImages(add ...*Image) ([]*Image, error) {
	out := make([]*Image, len(add))
	err := s.db.Update(func(tx *state.Tx) error {
		for _, img := range add {
			n := *img
			if before, ok := images.Get(tx, img.ID); ok {
				n.Tags, n.Digests = union(before.Tags, img.Tags), union(before.Digests, img.Digests)
				n.StoredAt = before.StoredAt
				if len(n.Tags) == len(before.Tags) && len(n.Digests) == len(before.Digests) {
					continue // nothing to add
				}
			}
			if err := moveTags(tx, n.ID, img.Tags); err != nil {
				return err
			}
			if err := images.Put(tx, &n); err != nil {
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

// moveTags removes tags from all other images.
func moveTags(tx *state.Tx, imageID string, tags []string) error {
	for _, tag := range tags {
		for _, other := range slices.Collect(images.By(tx, "tag", tag)) {
			if other.ID == imageID {
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

// ImageByName returns the image with a full reference, with tag or digest.
func (s *Store) ImageByName(name string) (*Image, bool) {
	view := s.db.View()
	for _, index := range []string{"tag", "digest"} {
		for img := range images.By(view, index, name) {
			return img, true
		}
	}
	return nil, false
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

// TagImage adds a tag to an image, and removes it from any other image.
func (s *Store) TagImage(imageID, tag string) error {
	return s.db.Update(func(tx *state.Tx) error {
		img, ok := images.Get(tx, imageID)
		if !ok {
			return noSuchImage(imageID)
		}
		if err := moveTags(tx, imageID, []string{tag}); err != nil {
			return err
		}
		n := *img
		n.Tags = union(img.Tags, []string{tag})
		return images.Put(tx, &n)
	})
}

// Removal is the result of RemoveImage.
type Removal struct {
	Untagged []string // full references
	Image    *Image   // the deleted image; nil if it still exists
}

// RemoveImage removes a name from an image, and deletes the image with its last name. Without a
// name it deletes the image, if it has at most one tag or force is set. An image that a container
// uses cannot be deleted: fault.Busy. With force such an image only loses its names.
func (s *Store) RemoveImage(imageID, name string, force bool) (*Removal, error) {
	var done *Removal
	err := s.db.Update(func(tx *state.Tx) error {
		img, ok := images.Get(tx, imageID)
		if !ok {
			return noSuchImage(imageID)
		}
		var err error
		done, err = s.removeImage(tx, img, name, force)
		return err
	})
	return done, err
}

func (s *Store) removeImage(tx *state.Tx, img *Image, name string, force bool) (*Removal, error) {
	n, err := namesAfter(img, name, force)
	if err != nil {
		return nil, err
	}

	done := &Removal{Untagged: slices.Concat(missing(img.Tags, n.Tags), missing(img.Digests, n.Digests))}
	if len(n.Tags) > 0 || name != "" && len(n.Digests) > 0 {
		return done, images.Put(tx, n)
	}

	if used := s.inUse(tx, img); used != nil {
		if !force || len(done.Untagged) == 0 || name == "" && used.running {
			return nil, used.fault(img, force)
		}
		return done, images.Put(tx, n)
	}

	done.Image = img
	_, err = images.Delete(tx, img.ID)
	return done, err
}

// namesAfter returns a copy without the removed names. The last tag of a repository removes its
// digests too.
func namesAfter(img *Image, name string, force bool) (*Image, error) {
	n := *img
	if name == "" {
		if len(img.Tags) > 1 && !force {
			return nil, fault.New(fault.Busy, imageSubject(img.ID), fmt.Sprintf("has %d tags", len(img.Tags)),
				fault.WithHint("remove the tags one by one, or all with --force"))
		}
		n.Tags, n.Digests = nil, nil
		return &n, nil
	}

	if !slices.Contains(img.Tags, name) && !slices.Contains(img.Digests, name) {
		return nil, noSuchImage(name)
	}

	n.Tags, n.Digests = without(img.Tags, name), without(img.Digests, name)
	if repo := repository(name); slices.Contains(img.Tags, name) &&
		!slices.ContainsFunc(n.Tags, func(t string) bool { return repository(t) == repo }) {
		n.Digests = slices.DeleteFunc(n.Digests, func(d string) bool { return repository(d) == repo })
	}

	return &n, nil
}

// repository returns a full reference without tag or digest.
func repository(name string) string {
	if repo, _, ok := strings.Cut(name, "@"); ok {
		return repo
	}
	return name[:max(strings.LastIndex(name, ":"), 0)]
}

func missing(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(s string) bool { return slices.Contains(after, s) })
}

// user is a container that uses an image.
type user struct {
	id      string
	running bool
}

func (u *user) fault(img *Image, force bool) error {
	state, hint := "stopped", "remove the container first, or add --force"
	switch {
	case u.running:
		state, hint = "running", "stop and remove the container first"
	case force:
		hint = "remove the container first"
	}
	return fault.New(fault.Busy, imageSubject(img.ID), "image is being used by "+state+" container "+id.Short(u.id),
		fault.WithHint("%s", hint))
}

// inUse returns a container that uses the image, preferably a running one; nil if there is none.
func (s *Store) inUse(r state.Reader, img *Image) *user {
	var found *user
	for _, uid := range s.containersOfImage(r, img.ID) {
		c, ok := containers.Get(r, uid)
		if ok && c.IsRunning() {
			return &user{uid, true}
		}
		found = &user{uid, false}
	}
	return found
}

func imageSubject(imageID string) string {
	return `image "` + id.Short(strings.TrimPrefix(imageID, "sha256:")) + `"`
}

func noSuchImage(ref string) error {
	return fault.New(fault.NotFound, `image "`+ref+`"`, "No such image", fault.WithReason(fault.ReasonNoSuchImage))
}
