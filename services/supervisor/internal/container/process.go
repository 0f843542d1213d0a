package container

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Process is what a container runs: its configuration on top of its image's.
type Process struct {
	Args       []string
	Env        []string
	WorkingDir string
	User       string // USER[:GROUP], not yet looked up
	StopSignal string
	Exposed    []ExposedPort
	Labels     map[string]string
}

// ImageConfig is the part of an OCI image configuration that a container takes over.
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
}

// ParseImageConfig reads an OCI image configuration document.
func ParseImageConfig(document []byte) (*ImageConfig, error) {
	var doc struct {
		Config ImageConfig `json:"config"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fault.New(fault.Internal, "image configuration", "cannot be read", fault.WithCause(err))
	}
	return &doc.Config, nil
}

// ProcessOf lays a configuration over its image's. An entrypoint that the user gives drops the image's command.
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
	}
	if len(p.Args) == 0 {
		return nil, fault.New(fault.Invalid, c.subject(), "no command specified", fault.WithField("command"),
			fault.WithHint("image %s has none of its own", c.Image))
	}
	if err := ValidateProcess("image "+c.Image, p.Args, img.Env, img.WorkingDir); err != nil {
		return nil, err
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	maps.Copy(p.Labels, c.Labels)
	if _, err := ParseSignal(p.StopSignal); err != nil {
		return nil, err
	}
	exposed, err := img.exposed()
	if err != nil {
		return nil, err
	}
	p.Exposed = uniquePorts(slices.Concat(exposed, c.Network.Expose, publishedPorts(c.Network.Publish)))
	return p, nil
}

// mergeEnv lets later settings of a variable win, in the place of the first.
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

func publishedPorts(mappings []PortMapping) []ExposedPort {
	out := make([]ExposedPort, 0, len(mappings))
	for _, m := range mappings {
		out = append(out, ExposedPort{m.Protocol, m.ContainerPort, m.ContainerPortEnd})
	}
	return out
}

// exposed reads the image's port keys, "80/tcp", "53/udp", "8000-8010/tcp" or "80".
func (i *ImageConfig) exposed() ([]ExposedPort, error) {
	var out []ExposedPort
	for key := range i.ExposedPorts {
		p, err := parseExposed(key)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func parseExposed(key string) (ExposedPort, error) {
	ports, proto, _ := strings.Cut(key, "/")
	first, last, ranged := strings.Cut(ports, "-")
	p := ExposedPort{Protocol: Protocol(strings.ToLower(cmp.Or(proto, "tcp")))}
	n, err := strconv.ParseUint(first, 10, 16)
	p.Port = uint16(n)
	if err == nil && ranged {
		n, err = strconv.ParseUint(last, 10, 16)
		p.End = uint16(n)
	}
	if err == nil {
		err = p.validate("image")
	}
	if err != nil {
		return p, fault.Invalidf("image", "", "it exposes %q, which is no port", key)
	}
	return p, nil
}

const maxPort = 65535

// longRange is how many ports a range must have to be kept as one.
const longRange = 64

func (p ExposedPort) isLong() bool { return int(p.End)-int(p.Port)+1 >= longRange }

// uniquePorts takes ranges apart, but for long ones, and sorts.
func uniquePorts(in []ExposedPort) []ExposedPort {
	seen := map[ExposedPort]bool{}
	for _, p := range in {
		if p.isLong() {
			seen[p] = true
		}
	}
	covered := coverage(maps.Keys(seen))
	for _, p := range in {
		for n := int(p.Port); n <= max(int(p.Port), int(p.End)) && !p.isLong(); n++ {
			if long := covered[p.Protocol]; long == nil || long[n] == 0 {
				seen[ExposedPort{Protocol: p.Protocol, Port: uint16(n)}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b ExposedPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
}

// coverage counts the ranges that hold each port. Its cost does not depend on how they overlap: the author of an image chose them.
func coverage(ranges iter.Seq[ExposedPort]) map[Protocol][]int {
	out := map[Protocol][]int{}
	for p := range ranges {
		if out[p.Protocol] == nil {
			out[p.Protocol] = make([]int, maxPort+2)
		}
		out[p.Protocol][p.Port]++
		out[p.Protocol][int(p.End)+1]--
	}
	for _, counts := range out {
		for n := 1; n < len(counts); n++ {
			counts[n] += counts[n-1]
		}
	}
	return out
}

// Mappings is what to publish: every -p, and with -P each exposed port that no -p names on a dynamic host port.
func (c *Config) Mappings(exposed []ExposedPort) []PortMapping {
	out := slices.Clone(c.Network.Publish)
	if !c.Network.PublishAll {
		return out
	}
	named := map[ExposedPort]bool{}
	for _, p := range uniquePorts(publishedPorts(c.Network.Publish)) {
		named[p] = true
	}
	for _, p := range exposed {
		if !named[p] {
			out = append(out, PortMapping{Protocol: p.Protocol, ContainerPort: p.Port, ContainerPortEnd: p.End})
		}
	}
	return out
}
