package listing

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Keys are the keys of filters.
func Keys() []string {
	return []string{"ancestor", "annotation", "before", "expose", "exited", "health", "id", "isolation", "is-task",
		"label", "name", "network", "publish", "since", "status", "volume"}
}

// Filter selects containers.
type Filter struct {
	values httpapi.Filters
	names  []*regexp.Regexp
	task   *bool
	ports  map[string][]network.PortRange // of publish and expose

	// Ancestors are the IDs of the images that the values of ancestor denote. The caller sets them.
	Ancestors []string
}

// Parse checks the values of filters.
func Parse(values httpapi.Filters) (f *Filter, err error) {
	f = &Filter{values: values, ports: map[string][]network.PortRange{}}
	for _, text := range values["name"] {
		r, rerr := regexp.Compile(text)
		if rerr != nil {
			return nil, httpapi.Errorf(http.StatusBadRequest, "invalid filter 'name=%.100s': %v", text, rerr)
		}
		f.names = append(f.names, r)
	}
	for _, key := range []string{"publish", "expose"} {
		for _, text := range values[key] {
			r, rerr := network.ParsePortRange(text)
			if rerr != nil {
				return nil, httpapi.Errorf(http.StatusBadRequest, "invalid filter '%s=%.100s': %v", key, text, rerr)
			}
			f.ports[key] = append(f.ports[key], r)
		}
	}
	f.task, err = values.Bool("is-task")
	return f, errors.Join(err, checkWords(values))
}

// checkWords checks the values of keys with a fixed set of words.
func checkWords(values httpapi.Filters) error {
	for _, text := range values["exited"] {
		if _, err := strconv.Atoi(text); err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "invalid filter 'exited=%.100s': it is not a number", text)
		}
	}
	for _, text := range values["status"] {
		if err := container.ValidateContainerState(container.ContainerState(text)); err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "invalid filter 'status=%.100s': %v", text, err)
		}
	}
	for _, text := range values["health"] {
		if err := container.ValidateHealthStatus(container.HealthStatus(text)); err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "invalid filter 'health=%.100s': %v", text, err)
		}
	}
	return nil
}

// AnyState reports whether the filter selects stopped containers too.
func (f *Filter) AnyState() bool { return len(f.values["status"]) > 0 }

// NeedsAll reports whether the filter compares containers with stopped ones.
func (f *Filter) NeedsAll() bool { return len(f.values["before"])+len(f.values["since"]) > 0 }

// Select returns the containers that match, which are ordered from the newest to the oldest. Stopped ones
// match only if all is true. limit is the maximum number, or 0.
func (f *Filter) Select(list []*containerv1.Container, all bool, limit int) ([]*containerv1.Container, error) {
	first, last, err := f.bounds(list)
	if err != nil {
		return nil, err
	}
	var out []*containerv1.Container
	for _, c := range list[first:last] {
		if (all || state.Running(c)) && f.matches(c) {
			if out = append(out, c); len(out) == limit {
				break
			}
		}
	}
	return out, nil
}

// bounds returns the range of the list that before and since select.
func (f *Filter) bounds(list []*containerv1.Container) (first, last int, err error) {
	last = len(list)
	for key, apply := range map[string]func(i int){
		"before": func(i int) { first = max(first, i+1) },
		"since":  func(i int) { last = min(last, i) },
	} {
		for _, reference := range f.values[key] {
			i := slices.IndexFunc(list, func(c *containerv1.Container) bool { return is(c, reference) })
			if i < 0 {
				return 0, 0, httpapi.Errorf(http.StatusNotFound, "No such container: %.100s", reference)
			}
			apply(i)
		}
	}
	return min(first, last), last, nil
}

// is reports whether a container has a name, ID or ID prefix.
func is(c *containerv1.Container, reference string) bool {
	name := strings.TrimPrefix(reference, "/")
	return c.GetConfig().GetName() == name || name != "" && strings.HasPrefix(c.GetId(), name)
}

// matches reports whether a container matches all keys except before and since.
func (f *Filter) matches(c *containerv1.Container) bool {
	cfg := c.GetConfig()
	return f.hasName(c) && f.hasPorts(c) && f.hasAncestor(c) &&
		f.values.Labels("label", cfg.GetLabels()) && f.values.Labels("annotation", cfg.GetAnnotations()) &&
		(f.task == nil || !*f.task) &&
		f.values.Any("id", func(v string) bool { return strings.HasPrefix(c.GetId(), v) }) &&
		f.values.Exact("status", string(state.Word(c))) && f.values.Exact("health", string(state.Health(c))) &&
		f.values.Any("isolation", func(v string) bool { return v == "" || v == "default" }) &&
		f.values.Any("exited", func(v string) bool {
			return !c.GetStartedAt().AsTime().IsZero() && state.Word(c) == container.StateExited &&
				v == strconv.Itoa(int(c.GetExitCode()))
		}) &&
		f.values.Any("volume", func(v string) bool {
			return slices.ContainsFunc(cfg.GetMounts(), func(m *containerv1.Mount) bool {
				return v == m.GetSource() || v == m.GetTarget()
			})
		}) &&
		f.values.Any("network", func(v string) bool { return onNetwork(c, v) })
}

func (f *Filter) hasName(c *containerv1.Container) bool {
	name := c.GetConfig().GetName()
	return len(f.names) == 0 || slices.ContainsFunc(f.names, func(r *regexp.Regexp) bool {
		return r.MatchString(name) || r.MatchString("/"+name)
	})
}

// onNetwork reports whether a container is connected to a network, given by name or ID, or will be at its
// next start.
func onNetwork(c *containerv1.Container, reference string) bool {
	for _, e := range c.GetSandbox().GetEndpoints() {
		if e.GetNetworkName() == reference || len(reference) >= 12 && strings.HasPrefix(e.GetNetworkId(), reference) {
			return true
		}
	}
	for _, a := range c.GetConfig().GetNetwork().GetNetworks() {
		if a.GetNetwork() == reference {
			return true
		}
	}
	return inspect.Mode(c.GetConfig().GetNetwork()) == reference
}

// hasAncestor reports whether a container was created from one of the images.
func (f *Filter) hasAncestor(c *containerv1.Container) bool {
	return slices.Contains(f.Ancestors, c.GetImageId()) || f.values.Any("ancestor", func(v string) bool {
		return sameImage(v, c.GetConfig().GetImage())
	})
}

// sameImage reports whether two names denote the same tag.
func sameImage(a, b string) bool {
	x, err := reference.ParseDockerRef(a)
	y, err2 := reference.ParseDockerRef(b)
	return cmp.Or(err, err2) == nil && x.String() == y.String()
}

// hasPorts reports whether the published and exposed ports match. As in Docker, a published port matches
// by its host port or its container port.
func (f *Filter) hasPorts(c *containerv1.Container) bool {
	if len(f.ports) == 0 {
		return true
	}
	bound := inspect.BoundPorts(c)
	has := func(key string, publishedOnly bool) bool {
		return len(f.ports[key]) == 0 || slices.ContainsFunc(f.ports[key], func(r network.PortRange) bool {
			return slices.ContainsFunc(bound, func(b inspect.Bound) bool {
				if b.Port.Proto() != r.Proto() || publishedOnly && !b.HostIP.IsValid() {
					return false
				}
				return within(r, b.Port.Num()) || b.Host != 0 && within(r, b.Host)
			})
		})
	}
	return has("publish", true) && has("expose", false)
}

func within(r network.PortRange, n uint16) bool { return r.Start() <= n && n <= r.End() }
