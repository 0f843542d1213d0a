// Package selection selects containers and volumes by KEY=VALUE filters, as `docker ps` and `docker
// volume ls` have them. It performs no I/O. Package api uses it.
package selection

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/filter"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Images finds images for the filter ancestor.
type Images interface {
	Resolve(ref, platform string) (*store.Image, error)
}

// Containers selects containers.
type Containers struct {
	All    bool // stopped ones too
	Limit  int  // the newest ones, in any state; 0 means no limit
	values filter.Values
	images Images
	ports  map[string][]portRange // of publish and expose
}

func containerKeys() map[string]filter.Check {
	keys := map[string]filter.Check{"name": filter.Pattern, "publish": checkPorts, "expose": checkPorts,
		"is-task": filter.Boolean("is-task"), "exited": checkCode,
		"status": filter.OneOf("status", "created", "running", "paused", "restarting", "exited", "removing", "dead"),
		"health": filter.OneOf("health", "none", "starting", "healthy", "unhealthy")}
	for _, key := range []string{"id", "label", "ancestor", "network", "volume", "before", "since", "isolation"} {
		keys[key] = nil
	}
	return keys
}

func checkCode(value string) error {
	_, err := strconv.Atoi(value)
	return err
}

// ParseContainers parses filters. Values of one key are alternatives; labels must all match.
func ParseContainers(specs []string, images Images) (*Containers, error) {
	values, err := filter.Parse(specs, containerKeys(), "name, id, label, ancestor, network, publish, expose, volume, "+
		"before, since, exited, health or status")
	if err != nil {
		return nil, err
	}
	s := &Containers{values: values, images: images, ports: map[string][]portRange{}}
	for _, key := range []string{"publish", "expose"} {
		for _, value := range values[key] {
			r, _ := parsePorts(value) // it was checked
			s.ports[key] = append(s.ports[key], r)
		}
	}
	return s, nil
}

// Select returns the containers that match. all are all containers, newest first.
func (s *Containers) Select(all []*container.Container) ([]*container.Container, error) {
	from, to, err := s.span(all)
	if err != nil {
		return nil, err
	}
	stopped := s.All || s.Limit > 0 || s.values.Has("status", "exited")
	ancestors := s.ancestors()

	var out []*container.Container
	for _, c := range all[min(from, to):to] {
		if (stopped || c.IsActive()) && s.fits(c) && s.hasAncestor(c, ancestors) {
			if out = append(out, c); s.Limit > 0 && len(out) == s.Limit {
				break
			}
		}
	}
	return out, nil
}

// span returns the range of the containers that are created before and since others. Of several values,
// one must match.
func (s *Containers) span(all []*container.Container) (from, to int, err error) {
	from, to = 0, len(all)
	for _, key := range []string{"before", "since"} {
		for i, value := range s.values[key] {
			at := slices.IndexFunc(all, func(c *container.Container) bool {
				return c.Config.Name == strings.TrimPrefix(value, "/") || value != "" && strings.HasPrefix(c.ID, value)
			})
			switch {
			case at < 0:
				return 0, 0, fault.NotFoundf("filter "+key+"="+value, "No such container: %s", value)
			case key == "before" && (i == 0 || at+1 < from):
				from = at + 1
			case key == "since" && (i == 0 || at > to):
				to = at
			}
		}
	}
	return from, to, nil
}

func (s *Containers) fits(c *container.Container) bool {
	v := s.values
	return v.Labels(c.Process.Labels) &&
		v.Any("name", func(p string) bool {
			return filter.Matches(p, c.Config.Name) || filter.Matches(p, "/"+c.Config.Name)
		}) &&
		v.Any("id", func(p string) bool { return strings.HasPrefix(c.ID, p) }) &&
		v.Any("status", func(value string) bool { return value == c.State() }) &&
		v.Any("exited", func(value string) bool {
			return c.Status == container.Exited && value == strconv.Itoa(c.ExitCode)
		}) &&
		v.Any("health", func(value string) bool { return value == healthOf(c) }) &&
		v.Any("is-task", func(value string) bool { return !filter.IsTrue(value) }) &&
		v.Any("isolation", func(value string) bool { return value == "" || value == "default" }) &&
		v.Any("network", func(value string) bool { return isOnNetwork(c, value) }) &&
		v.Any("volume", func(value string) bool { return hasMount(c, value) }) &&
		s.fitsPorts(c)
}

func healthOf(c *container.Container) string {
	if c.Health == nil {
		return "none"
	}
	return c.Health.Status
}

// isOnNetwork reports whether a container is connected to a network, or is when it runs.
func isOnNetwork(c *container.Container, value string) bool {
	if c.Live != nil {
		for _, e := range c.Live.Endpoints {
			if e.NetworkName == value || len(value) >= 4 && strings.HasPrefix(e.NetworkID, value) {
				return true
			}
		}
	}
	for _, a := range c.Config.Network.Attachments {
		if a.Network == value {
			return true
		}
	}
	return string(c.Config.Network.Mode) == value
}

func hasMount(c *container.Container, value string) bool {
	return slices.ContainsFunc(c.Config.Mounts,
		func(m container.Mount) bool { return value == m.Source || value == m.Target })
}

// ancestor is a value of the filter ancestor.
type ancestor struct {
	value string
	image *store.Image // nil if it is not stored
}

func (s *Containers) ancestors() (out []ancestor) {
	for _, value := range s.values["ancestor"] {
		img, _ := s.images.Resolve(value, "") // containers can have an image without a name
		out = append(out, ancestor{value, img})
	}
	return out
}

// hasAncestor reports whether a container was created from an image, or from one above its layers.
func (s *Containers) hasAncestor(c *container.Container, ancestors []ancestor) bool {
	if len(ancestors) == 0 {
		return true
	}
	return slices.ContainsFunc(ancestors, func(a ancestor) bool {
		if sameName(c.Config.Image, a.value) || a.image != nil && c.ImageID == a.image.ID {
			return true
		}
		if a.image == nil || len(a.image.Layers) == 0 {
			return false
		}
		own, err := s.images.Resolve(c.ImageID, "")
		return err == nil && len(own.Layers) >= len(a.image.Layers) &&
			slices.Equal(own.Layers[:len(a.image.Layers)], a.image.Layers)
	})
}

// sameName reports whether two names are of the same image.
func sameName(a, b string) bool {
	return strings.TrimSuffix(image.Familiar(a), ":latest") == strings.TrimSuffix(image.Familiar(b), ":latest")
}

// portRange is a value of publish and expose: PORT[-END][/PROTO].
type portRange struct {
	port.Range
	protocol port.Protocol
}

func checkPorts(value string) error {
	_, err := parsePorts(value)
	return err
}

func parsePorts(text string) (r portRange, err error) {
	ports, protocol, ok := strings.Cut(text, "/")
	if r.protocol = port.Protocol(protocol); !ok {
		r.protocol = port.TCP
	}
	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}
	first, err1 := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || last < first {
		return r, fault.Invalidf("", "", "%q is not a valid port range: use PORT[-END][/PROTO]", text)
	}
	r.Range = port.Range{First: uint16(first), Last: uint16(last)}
	return r, nil
}

// meets reports whether two ranges overlap.
func (r portRange) meets(protocol port.Protocol, other port.Range) bool {
	return protocol == r.protocol && other.First <= r.Last && max(other.First, other.Last) >= r.First
}

// fitsPorts reports whether the published and exposed ports of a container match. As in Docker, a
// published port matches by its host port or its container port.
func (s *Containers) fitsPorts(c *container.Container) bool {
	published := func(r portRange) bool {
		return c.Live != nil && slices.ContainsFunc(c.Live.Bindings, func(b port.Binding) bool {
			return r.meets(b.Protocol, b.Host) || r.meets(b.Protocol, b.Container)
		})
	}
	exposed := func(r portRange) bool {
		return published(r) || slices.ContainsFunc(c.Process.Exposed, func(e port.Exposed) bool {
			return r.meets(e.Protocol, e.Ports)
		})
	}
	any := func(ranges []portRange, fits func(portRange) bool) bool {
		return len(ranges) == 0 || slices.ContainsFunc(ranges, fits)
	}
	return any(s.ports["publish"], published) && any(s.ports["expose"], exposed)
}
