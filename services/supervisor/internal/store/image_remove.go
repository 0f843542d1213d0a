package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
)

// Removal is the result of RemoveImages for one image.
type Removal struct {
	Untagged []string // full references
	Image    *Image   // the image as it was before
	Deleted  bool     // the image was deleted
}

// RemoveImages removes a name from images, and deletes an image with its last name. Without a name
// it deletes the images that have at most one tag, or all if force is set. An image that a container
// uses cannot be deleted: fault.Busy. With force such an image only loses its names.
func (s *Store) RemoveImages(imageIDs []string, name string, force bool) ([]*Removal, error) {
	var all []*Removal
	err := s.db.Update(func(tx *state.Tx) error {
		for _, imageID := range imageIDs {
			img, ok := images.Get(tx, imageID)
			if !ok {
				return noSuchImage(imageID)
			}
			done, err := s.removeImage(tx, img, name, force)
			if err != nil {
				return err
			}
			all = append(all, done)
		}
		return nil
	})
	return all, err
}

// PruneImages deletes the images that match and that no container uses.
func (s *Store) PruneImages(match func(*Image) bool) ([]*Removal, error) {
	var all []*Removal
	err := s.db.Update(func(tx *state.Tx) error {
		for _, img := range slices.Collect(images.All(tx)) {
			if !match(img) || s.inUse(tx, img) != nil {
				continue
			}
			if _, err := images.Delete(tx, img.ID); err != nil {
				return err
			}
			all = append(all, &Removal{Untagged: slices.Concat(img.Tags, img.Digests), Image: img, Deleted: true})
		}
		return nil
	})
	return all, err
}

func (s *Store) removeImage(tx *state.Tx, img *Image, name string, force bool) (*Removal, error) {
	n, err := namesAfter(img, name, force)
	if err != nil {
		return nil, err
	}

	done := &Removal{Untagged: slices.Concat(missing(img.Tags, n.Tags), missing(img.Digests, n.Digests)), Image: img}
	if len(n.Tags) > 0 || name != "" && len(n.Digests) > 0 {
		return done, images.Put(tx, n)
	}

	if used := s.inUse(tx, img); used != nil {
		if !force || len(done.Untagged) == 0 || name == "" && used.running {
			return nil, used.fault(img, force)
		}
		return done, images.Put(tx, n)
	}

	done.Deleted = true
	_, err = images.Delete(tx, img.ID)
	return done, err
}

// namesAfter returns a copy without the removed names. The last tag of a repository removes its
// digests too.
func namesAfter(img *Image, name string, force bool) (*Image, error) {
	n := *img
	if name == "" {
		if len(img.Tags) > 1 && !force {
			return nil, fault.New(fault.Busy, imageSubject(img.ID),
				fmt.Sprintf("image is referenced in multiple repositories (%d tags)", len(img.Tags)),
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
