package store

import (
	"slices"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// volumes maps names to volumes, indexed by whether they are being removed.
var volumes = state.NewTable("volumes", func(v *volume.Volume) string { return v.Name },
	state.Index[volume.Volume]{Name: "removing", Of: func(v *volume.Volume) []string {
		if v.Removing {
			return []string{"yes"}
		}
		return nil
	}})

// AddVolume stores a volume and returns it as stored. Idempotent. It fails if the volume exists with
// other options or labels, or is being removed.
func (s *Store) AddVolume(v *volume.Volume) (*volume.Volume, error) {
	out := v
	err := s.db.Update(func(tx *state.Tx) error {
		before, ok := volumes.Get(tx, v.Name)
		switch {
		case !ok:
			return volumes.Put(tx, v)
		case before.Removing:
			return beingRemoved(v.Name)
		}
		out = before
		return before.Conflict(v)
	})
	return out, err
}

// addVolumes stores the volumes that do not exist, and checks that the volumes of a container do.
func addVolumes(tx *state.Tx, c *container.Container, missing []*volume.Volume) (created []string, err error) {
	for _, v := range missing {
		before, ok := volumes.Get(tx, v.Name)
		switch {
		case !ok:
			created = append(created, v.Name)
			err = volumes.Put(tx, v)
		case before.Removing:
			err = beingRemoved(v.Name)
		default:
			err = before.Conflict(v)
		}
		if err != nil {
			return nil, err
		}
	}

	for _, name := range c.Volumes() {
		v, ok := volumes.Get(tx, name)
		if !ok {
			return nil, volume.NotFound(name)
		}
		if v.Removing {
			return nil, beingRemoved(name)
		}
	}

	return created, nil
}

func beingRemoved(name string) error {
	return fault.New(fault.Conflict, volume.Subject(name), "is being removed", fault.WithHint("try again"))
}

// GetVolume returns the volume with a name.
func (s *Store) GetVolume(name string) (*volume.Volume, error) {
	v, ok := volumes.Get(s.db.View(), name)
	if !ok {
		return nil, volume.NotFound(name)
	}
	return v, nil
}

// ListVolumes returns all volumes, sorted by name.
func (s *Store) ListVolumes() []*volume.Volume { return slices.Collect(volumes.All(s.db.View())) }

// VolumeUsers returns the IDs of the containers that use a volume, running or not.
func (s *Store) VolumeUsers(name string) []string { return usersOf(s.db.View(), name) }

func usersOf(r state.Reader, name string) []string {
	var out []string
	for c := range containers.By(r, "volume", name) {
		out = append(out, c.ID)
	}
	return out
}

// MarkVolume marks a volume as being removed. It fails if a container uses the volume.
func (s *Store) MarkVolume(name string) error {
	return s.db.Update(func(tx *state.Tx) error {
		v, ok := volumes.Get(tx, name)
		if !ok {
			return volume.NotFound(name)
		}
		return mark(tx, v)
	})
}

// MarkVolumes marks the volumes that match and that no container uses, and returns their names.
func (s *Store) MarkVolumes(match func(*volume.Volume) bool) (names []string, err error) {
	err = s.db.Update(func(tx *state.Tx) error {
		for _, v := range slices.Collect(volumes.All(tx)) {
			if v.Removing || !match(v) || len(usersOf(tx, v.Name)) > 0 {
				continue
			}
			if err := mark(tx, v); err != nil {
				return err
			}
			names = append(names, v.Name)
		}
		return nil
	})
	return names, err
}

// markUnused marks the named volumes that no container uses.
func markUnused(tx *state.Tx, names []string) error {
	for _, name := range names {
		v, ok := volumes.Get(tx, name)
		if !ok || len(usersOf(tx, name)) > 0 {
			continue
		}
		if err := mark(tx, v); err != nil {
			return err
		}
	}
	return nil
}

// mark marks a volume as being removed. From then on no container can be created with it.
func mark(tx *state.Tx, v *volume.Volume) error {
	if users := usersOf(tx, v.Name); len(users) > 0 {
		return volume.InUse(v.Name, users)
	}
	if v.Removing {
		return nil
	}
	n := *v
	n.Removing = true
	return volumes.Put(tx, &n)
}

// MarkedVolumes returns the names of the volumes that are being removed.
func (s *Store) MarkedVolumes() []string {
	var out []string
	for v := range volumes.By(s.db.View(), "removing", "yes") {
		out = append(out, v.Name)
	}
	return out
}

// DeleteVolume deletes the record of a volume that is being removed. Its data must be deleted before.
func (s *Store) DeleteVolume(name string) error {
	return s.db.Update(func(tx *state.Tx) error {
		v, ok := volumes.Get(tx, name)
		if !ok || !v.Removing {
			return nil
		}
		_, err := volumes.Delete(tx, name)
		return err
	})
}

// VolumesInUse returns the names of the volumes that a running container uses.
func (s *Store) VolumesInUse() map[string]bool {
	out := map[string]bool{}
	for c := range containers.All(s.db.View()) {
		if c.IsRunning() {
			for _, name := range c.Volumes() {
				out[name] = true
			}
		}
	}
	return out
}
