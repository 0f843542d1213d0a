package commit

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/change"
)

// configOf returns the configuration of the image of a container, with what the container changes.
func configOf(c *container.Container, document []byte) (change.Config, error) {
	var doc struct {
		Config change.Config `json:"config"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return doc.Config, fault.Wrap(err, fault.Internal, "image "+c.Config.Image, "configuration cannot be parsed")
	}

	out := doc.Config
	out.Env, out.Labels = slices.Clone(c.Process.Env), maps.Clone(c.Process.Labels)
	out.WorkingDir, out.User = cmp.Or(c.Config.WorkingDir, out.WorkingDir), cmp.Or(c.Config.User, out.User)
	out.StopSignal = cmp.Or(c.Config.StopSignal, out.StopSignal)
	switch {
	case c.Config.Entrypoint != nil:
		out.Cmd = c.Config.Command
		out.Entrypoint = slices.DeleteFunc(slices.Clone(c.Config.Entrypoint), func(s string) bool { return s == "" })
	case len(c.Config.Command) > 0:
		out.Cmd = c.Config.Command
	}

	out.ExposedPorts = nil
	for _, p := range c.Process.Exposed {
		add(&out.ExposedPorts, p.String())
	}
	for _, m := range c.Config.Mounts {
		if m.IsVolume() && m.Anonymous {
			add(&out.Volumes, m.Target)
		}
	}
	if h := healthcheck.Combine(c.Config.Health, out.Healthcheck); len(h.Test) > 0 {
		out.Healthcheck = &h
	}

	return out, nil
}

func add(to *map[string]struct{}, key string) {
	if *to == nil {
		*to = map[string]struct{}{}
	}
	(*to)[key] = struct{}{}
}
