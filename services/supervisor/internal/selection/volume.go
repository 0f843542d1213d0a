package selection

import (
	"strings"

	"github.com/fairlead/fairlead/agent/filter"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// Volumes selects volumes.
type Volumes struct{ values filter.Values }

// ParseVolumes parses filters. Values of one key are alternatives; labels must all match.
func ParseVolumes(specs []string) (*Volumes, error) {
	values, err := filter.Parse(specs, map[string]filter.Check{"name": nil, "driver": nil, "label": nil,
		"dangling": filter.Boolean("dangling")}, "name, driver, label or dangling")
	return &Volumes{values}, err
}

// Fits reports whether a volume matches. users returns the containers that use it.
func (s *Volumes) Fits(v *volume.Volume, users func(name string) []string) bool {
	return s.values.Labels(v.Labels) &&
		s.values.Any("name", func(value string) bool { return strings.Contains(v.Name, value) }) &&
		s.values.Any("driver", func(value string) bool { return value == v.Driver }) &&
		s.values.Any("dangling", func(value string) bool { return filter.IsTrue(value) == (len(users(v.Name)) == 0) })
}
