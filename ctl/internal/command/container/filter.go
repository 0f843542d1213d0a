package container

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/imageref"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// filter selects containers. Values of the same key are alternatives; labels must all match.
type filter struct {
	names  []*regexp.Regexp
	values map[string][]string
	ports  map[string][]portRange // for publish and expose
}

// matchers returns, for each key, a function that reports whether a container matches a value.
func matchers() map[string]func(c *containerv1.Container, value string) bool {
	return map[string]func(*containerv1.Container, string) bool{
		"id":       func(c *containerv1.Container, v string) bool { return strings.HasPrefix(c.GetId(), v) },
		"status":   func(c *containerv1.Container, v string) bool { return v == inspect.Status(c.GetStatus()) },
		"label":    func(c *containerv1.Container, v string) bool { return hasLabel(c.GetConfig().GetLabels(), v) },
		"ancestor": hasAncestor,
		"network":  isOnNetwork,
		"volume": func(c *containerv1.Container, v string) bool {
			return slices.ContainsFunc(c.GetConfig().GetMounts(),
				func(m *containerv1.Mount) bool { return v == m.GetSource() || v == m.GetTarget() })
		},
		"exited": func(c *containerv1.Container, v string) bool {
			return c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_EXITED &&
				v == strconv.Itoa(int(c.GetExitCode()))
		},
		"health":  func(c *containerv1.Container, v string) bool { return v == inspect.HealthStatus(c) },
		"is-task": func(_ *containerv1.Container, v string) bool { return v == "false" || v == "0" },
	}
}

// allowed returns the valid values of keys with a fixed set.
func allowed() map[string][]string {
	return map[string][]string{
		"status":  {"created", "running", "exited", "removing", "paused", "restarting", "dead"},
		"health":  {"none", "starting", "healthy", "unhealthy"},
		"is-task": {"true", "false", "1", "0"},
	}
}

func parseFilter(specs []string) (filter, error) {
	f := filter{values: map[string][]string{}, ports: map[string][]portRange{}}
	for _, spec := range specs {
		kind, value, ok := strings.Cut(spec, "=")
		if !ok {
			return f, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		}
		if err := f.add(spec, kind, value); err != nil {
			return f, err
		}
	}
	return f, nil
}

// add adds one value.
func (f *filter) add(spec, kind, value string) error {
	only := allowed()[kind]
	switch {
	case kind == "name":
		r, err := regexp.Compile(value)
		if err != nil {
			return fault.Invalidf("--filter "+spec, "filter", "%s", err)
		}
		f.names = append(f.names, r)
	case kind == "publish" || kind == "expose":
		r, err := parsePorts(value)
		if err != nil {
			return fault.Invalidf("--filter "+spec, "filter", "%s", err)
		}
		f.ports[kind] = append(f.ports[kind], r)
	case kind == "before" || kind == "since":
		f.values[kind] = append(f.values[kind], value)
	case matchers()[kind] != nil && (only == nil || slices.Contains(only, value)):
		f.values[kind] = append(f.values[kind], value)
	default:
		return fault.New(fault.Invalid, "--filter "+spec, "invalid filter", fault.WithField("filter"),
			fault.WithHint("use name, id, label, ancestor, network, publish, expose, volume, before, since, "+
				"exited, health or "+
				"status=created|running|paused|restarting|exited|removing|dead"))
	}

	return nil
}

// aboutStopped reports whether the filter selects stopped containers.
func (f filter) aboutStopped() bool { return len(f.values["status"])+len(f.values["exited"]) > 0 }

// needsAll reports whether the list must include stopped containers, even if they are not shown.
func (f filter) needsAll() bool {
	return f.aboutStopped() || len(f.values["before"])+len(f.values["since"]) > 0
}

// fits reports whether a container matches. all lists all containers, newest first.
func (f filter) fits(c *containerv1.Container, all []*containerv1.Container) bool {
	name := c.GetConfig().GetName()
	if !anyOf(f.names, func(r *regexp.Regexp) bool { return r.MatchString(name) || r.MatchString("/"+name) }) {
		return false
	}

	for kind, fits := range matchers() {
		one := func(v string) bool { return fits(c, v) }
		if kind == "label" {
			if slices.ContainsFunc(f.values[kind], func(v string) bool { return !one(v) }) {
				return false
			}
		} else if !anyOf(f.values[kind], one) {
			return false
		}
	}

	return f.fitsPorts(c) && f.fitsTime(c, all)
}

// fitsTime reports whether the creation time of a container matches before and since.
func (f filter) fitsTime(c *containerv1.Container, all []*containerv1.Container) bool {
	at := slices.Index(all, c)
	place := func(v string) int {
		return slices.IndexFunc(all, func(o *containerv1.Container) bool {
			return o.GetConfig().GetName() == v || v != "" && strings.HasPrefix(o.GetId(), v)
		})
	}
	return anyOf(f.values["before"], func(v string) bool { p := place(v); return p >= 0 && at > p }) &&
		anyOf(f.values["since"], func(v string) bool { p := place(v); return p >= 0 && at < p })
}

// unknown returns an error for the first container of before or since that does not exist.
func (f filter) unknown(all []*containerv1.Container) error {
	for _, kind := range []string{"before", "since"} {
		for _, v := range f.values[kind] {
			known := func(o *containerv1.Container) bool {
				return o.GetConfig().GetName() == v || v != "" && strings.HasPrefix(o.GetId(), v)
			}
			if !slices.ContainsFunc(all, known) {
				return fault.NotFoundf("--filter "+kind+"="+v, "No such container: %s", v)
			}
		}
	}
	return nil
}

// hasAncestor reports whether a container was created from an image, given by name or ID prefix.
func hasAncestor(c *containerv1.Container, image string) bool {
	id := strings.TrimPrefix(c.GetImageId(), "sha256:")
	wanted, is := imageref.Parse(image), imageref.Parse(c.GetConfig().GetImage())
	return is.String() == wanted.String() || len(image) >= 4 &&
		strings.HasPrefix(id, strings.TrimPrefix(image, "sha256:"))
}

func isOnNetwork(c *containerv1.Container, network string) bool {
	for _, e := range c.GetSandbox().GetEndpoints() {
		if e.GetNetworkName() == network || len(network) >= 4 && strings.HasPrefix(e.GetNetworkId(), network) {
			return true
		}
	}
	return c.GetConfig().GetNetwork().GetMode() == network
}

// anyOf reports whether a value fits, or there are no values.
func anyOf[T any](values []T, fits func(T) bool) bool {
	return len(values) == 0 || slices.ContainsFunc(values, fits)
}

func hasLabel(labels map[string]string, spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := labels[key]
	return ok && (!valued || got == want)
}
