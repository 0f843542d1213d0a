package container

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// Process is the process configuration of a container: its own configuration merged with the
// image's.
type Process struct {
	Args       []string
	Env        []string
	WorkingDir string
	User       string // USER[:GROUP], not yet resolved
	StopSignal string
	Exposed    []port.Exposed
	Labels     map[string]string
	Health     *healthcheck.Check `json:",omitempty"` // in effect; nil without one
}

// ImageConfig is the part of an OCI image configuration that a container inherits.
// See https://github.com/opencontainers/image-spec/blob/main/config.md.
type ImageConfig struct {
	Entrypoint   []string            `json:"Entrypoint"`
	Cmd          []string            `json:"Cmd"`
	Env          []string            `json:"Env"`
	WorkingDir   string              `json:"WorkingDir"`
	User         string              `json:"User"`
	StopSignal   string              `json:"StopSignal"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts"`
	Labels       map[string]string   `json:"Labels"`
	Volumes      map[string]struct{} `json:"Volumes"`
	Healthcheck  *healthcheck.Check  `json:"Healthcheck"`
	Shell        []string            `json:"Shell"`
}

// ParseImageConfig parses an OCI image configuration.
func ParseImageConfig(document []byte) (*ImageConfig, error) {
	var doc struct {
		Config ImageConfig `json:"config"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fault.New(fault.Internal, "image configuration", "cannot be parsed", fault.WithCause(err))
	}
	return &doc.Config, nil
}

// ProcessOf merges a configuration with the image's. An entrypoint of the user drops the image's
// command.
func ProcessOf(c *Config, img *ImageConfig) (*Process, error) {
	entrypoint, command := img.Entrypoint, c.Command
	if c.Entrypoint != nil {
		entrypoint = slices.DeleteFunc(slices.Clone(c.Entrypoint), func(s string) bool { return s == "" })
	} else if len(command) == 0 {
		command = img.Cmd
	}

	p := &Process{
		Args:       slices.Concat(entrypoint, command),
		Env:        mergeEnv(img.Env, c.Env),
		WorkingDir: cmp.Or(c.WorkingDir, img.WorkingDir, "/"),
		User:       cmp.Or(c.User, img.User),
		StopSignal: cmp.Or(c.StopSignal, img.StopSignal, "TERM"),
		Labels:     maps.Clone(img.Labels),
		Health:     healthcheck.Merge(c.Health, img.Healthcheck, img.Shell),
	}

	if len(p.Args) == 0 {
		return nil, fault.New(fault.Invalid, c.subject(), "no command specified", fault.WithField("command"),
			fault.WithHint("add a command, as image %s defines none", c.Image))
	}

	if err := ValidateProcess("image "+c.Image, p.Args, img.Env, img.WorkingDir); err != nil {
		return nil, err
	}

	if p.Labels == nil {
		p.Labels = map[string]string{}
	}

	maps.Copy(p.Labels, c.Labels)
	if _, err := signal.Parse(p.StopSignal); err != nil {
		return nil, err
	}

	exposed, err := img.exposed()
	if err != nil {
		return nil, err
	}

	p.Exposed = uniquePorts(slices.Concat(exposed, c.Network.Expose, publishedPorts(c.Network.Publish)))
	return p, nil
}

// mergeEnv merges environments. A later value replaces an earlier one at the same position.
func mergeEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, e := range slices.Concat(lists...) {
		key, _, _ := strings.Cut(e, "=")
		if i, ok := at[key]; ok {
			out[i] = e
			continue
		}
		at[key] = len(out)
		out = append(out, e)
	}
	return out
}

func publishedPorts(mappings []port.Mapping) []port.Exposed {
	out := make([]port.Exposed, 0, len(mappings))
	for _, m := range mappings {
		out = append(out, port.Exposed{Protocol: m.Protocol, Ports: m.Container})
	}
	return out
}

// exposed parses the exposed ports of the image: "80/tcp", "53/udp", "8000-8010/tcp" or "80".
func (i *ImageConfig) exposed() ([]port.Exposed, error) {
	var out []port.Exposed
	for key := range i.ExposedPorts {
		p, err := port.ParseExposed(key)
		if err != nil {
			return nil, fault.Invalidf("image", "", "%q is not a valid exposed port", key)
		}
		out = append(out, p)
	}
	return out, nil
}

const maxPort = 65535

// longRange is the number of ports from which a range is kept as a range.
const longRange = 64

func isLong(p port.Exposed) bool { return p.Ports.Len() >= longRange }

// uniquePorts removes duplicates and sorts. Ranges shorter than longRange become single ports.
func uniquePorts(in []port.Exposed) []port.Exposed {
	seen := map[port.Exposed]bool{}
	for _, p := range in {
		if isLong(p) {
			seen[p] = true
		}
	}

	covered := coverage(maps.Keys(seen))
	for _, p := range in {
		for n := int(p.Ports.First); n <= int(p.Ports.Last) && !isLong(p); n++ {
			if long := covered[p.Protocol]; long == nil || long[n] == 0 {
				seen[port.Exposed{Protocol: p.Protocol, Ports: port.Single(uint16(n))}] = true
			}
		}
	}

	return slices.SortedFunc(maps.Keys(seen), func(a, b port.Exposed) int {
		return cmp.Or(cmp.Compare(a.Ports.First, b.Ports.First), cmp.Compare(a.Protocol, b.Protocol))
	})
}

// coverage counts, for each port, the ranges that contain it.
// The cost does not depend on how ranges overlap, as ranges come from untrusted images.
func coverage(ranges iter.Seq[port.Exposed]) map[port.Protocol][]int {
	out := map[port.Protocol][]int{}
	for p := range ranges {
		if out[p.Protocol] == nil {
			out[p.Protocol] = make([]int, maxPort+2)
		}
		out[p.Protocol][p.Ports.First]++
		out[p.Protocol][int(p.Ports.Last)+1]--
	}

	for _, counts := range out {
		for n := 1; n < len(counts); n++ {
			counts[n] += counts[n-1]
		}
	}

	return out
}

// Mappings returns the requested port mappings: each -p, and with -P each other exposed port on an
// ephemeral host port.
func (c *Config) Mappings(exposed []port.Exposed) []port.Mapping {
	out := slices.Clone(c.Network.Publish)
	if !c.Network.PublishAll {
		return out
	}

	named := map[port.Exposed]bool{}
	for _, p := range uniquePorts(publishedPorts(c.Network.Publish)) {
		named[p] = true
	}

	for _, p := range exposed {
		if !named[p] {
			out = append(out, port.Mapping{Protocol: p.Protocol, Container: p.Ports})
		}
	}

	return out
}
