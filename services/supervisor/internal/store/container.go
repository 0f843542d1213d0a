package store

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// containers maps IDs to containers, indexed by name, by image and by volume. Names are unique.
var containers = state.NewTable("containers", func(c *container.Container) string { return c.ID },
	state.Index[container.Container]{Name: "name",
		Of: func(c *container.Container) []string { return []string{c.Config.Name} }},
	state.Index[container.Container]{Name: "image",
		Of: (*container.Container).Images},
	state.Index[container.Container]{Name: "volume", Of: (*container.Container).Volumes})

// AddContainer stores a new container. It fails if the name is in use, or an image or volume does not
// exist.
func (s *Store) AddContainer(c *container.Container) error {
	_, err := s.AddContainerWithVolumes(c, nil)
	return err
}

// AddContainerWithVolumes is AddContainer, and stores the given volumes if they do not exist. It
// returns the names of the new volumes.
func (s *Store) AddContainerWithVolumes(c *container.Container, missing []*volume.Volume) (created []string,
	err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		if created, err = addVolumes(tx, c, missing); err != nil {
			return err
		}
		if err := nameFree(tx, c.Config.Name); err != nil {
			return err
		}
		for _, imageID := range c.Images() {
			if _, ok := images.Get(tx, imageID); !ok {
				return fault.New(fault.Conflict, "image "+c.Config.Image,
					"was removed during creation of the container",
					fault.WithHint("try again"))
			}
		}
		return containers.Put(tx, c)
	})
	return created, err
}

// NameFree returns a fault with the container's ID if the name is in use.
func (s *Store) NameFree(name string) error { return nameFree(s.db.View(), name) }

func nameFree(r state.Reader, name string) error {
	for c := range containers.By(r, "name", name) {
		return fault.New(fault.Exists, container.Subject(name),
			fmt.Sprintf("Conflict. The container name %q is already in use by container %q", "/"+name, c.ID),
			fault.WithReason(fault.ReasonNameInUse), fault.WithField("name"),
			fault.WithHint("remove or rename that container, or choose another name"))
	}
	return nil
}

// UpdateContainer stores the result of change; nil means no change. Errors: fault.NotFound if the
// container does not exist.
func (s *Store) UpdateContainer(uid string,
	change func(*container.Container) *container.Container) (*container.Container, error) {
	var after *container.Container
	err := s.db.Update(func(tx *state.Tx) error {
		before, ok := containers.Get(tx, uid)
		if !ok {
			return noSuchContainer(id.Short(uid))
		}
		if after = change(before); after == nil {
			after = before
			return nil
		}
		return containers.Put(tx, after)
	})

	return after, err
}

// ShowContainer is like UpdateContainer, but in memory only, for a store that cannot be written.
func (s *Store) ShowContainer(uid string, change func(*container.Container) *container.Container) error {
	return s.db.Show(func(tx *state.Tx) error {
		before, ok := containers.Get(tx, uid)
		if !ok {
			return noSuchContainer(id.Short(uid))
		}
		return containers.Put(tx, change(before))
	})
}

// RenameContainer renames a container and stores a pending change with it. It fails if the name is
// in use.
func (s *Store) RenameContainer(uid, name string, change *container.Change) error {
	return s.db.Update(func(tx *state.Tx) error {
		before, ok := containers.Get(tx, uid)
		if !ok {
			return noSuchContainer(id.Short(uid))
		}
		if err := nameFree(tx, name); err != nil {
			return err
		}
		return containers.Put(tx, before.WithName(name).Changing(change))
	})
}

// DeleteContainer deletes a container. It does nothing if the container does not exist. Its anonymous
// volumes that no other container uses are marked as being removed, if they are to be removed with
// it.
func (s *Store) DeleteContainer(uid string) error {
	return s.db.Update(func(tx *state.Tx) error {
		c, ok := containers.Get(tx, uid)
		if !ok {
			return nil
		}
		if _, err := containers.Delete(tx, uid); err != nil {
			return err
		}
		if !c.RemoveVolumes && !c.Config.AutoRemove && c.Status != container.Launching {
			return nil
		}
		return markUnused(tx, c.AnonymousVolumes())
	})
}

// GetContainer returns the container with a full ID.
func (s *Store) GetContainer(uid string) (*container.Container, error) {
	c, ok := containers.Get(s.db.View(), uid)
	if !ok {
		return nil, noSuchContainer(id.Short(uid))
	}
	return c, nil
}

// FindContainer returns a container by full ID, name, or unique ID prefix, in this order.
func (s *Store) FindContainer(ref string) (*container.Container, error) {
	if c, ok := containers.Get(s.db.View(), ref); ok {
		return c, nil
	}

	c, n := id.Find(slices.Collect(containers.All(s.db.View())), ref,
		func(c *container.Container) (string, string) { return c.ID, c.Config.Name })
	switch n {
	case 0:
		return nil, noSuchContainer(ref)
	case 1:
		return c, nil
	}

	return nil, fault.New(fault.Invalid, container.Subject(ref),
		fmt.Sprintf("ambiguous: %d container IDs have this prefix", n),
		fault.WithHint("use more digits of the ID"))
}

// ListContainers returns all containers, newest first.
func (s *Store) ListContainers() []*container.Container {
	return slices.SortedFunc(containers.All(s.db.View()), func(a, b *container.Container) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// containersOfImage returns the IDs of the containers that use an image.
func (s *Store) containersOfImage(r state.Reader, imageID string) []string {
	var out []string
	for c := range containers.By(r, "image", imageID) {
		out = append(out, c.ID)
	}
	return out
}

func noSuchContainer(ref string) error {
	if ref == "" {
		return fault.New(fault.Invalid, "container", "name or ID is empty", fault.WithField("reference"),
			fault.WithHint("specify a container"))
	}
	return fault.New(fault.NotFound, container.Subject(ref), "No such container: "+ref)
}
