// Package change applies the Dockerfile instructions of `import -c` and `commit -c` to an image's
// configuration. It performs no I/O.
package change

import (
	"encoding/json"
	"path"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// Config is the part of an image configuration that containers inherit: that of the OCI image
// specification with the fields that Docker adds.
type Config struct {
	ocispec.ImageConfig
	Healthcheck *healthcheck.Check `json:"Healthcheck,omitempty"`
	OnBuild     []string           `json:"OnBuild,omitempty"`
	Shell       []string           `json:"Shell,omitempty"`
}

// Apply applies the changes, one instruction each, in order. It does not modify c if one of them is
// not valid.
func Apply(c *Config, instructions []string) error {
	n := clone(c)
	hasCommand := false
	for _, in := range instructions {
		name, err := apply(n, in)
		if err != nil {
			return err
		}
		hasCommand = hasCommand || name == "CMD"
		if name == "ENTRYPOINT" && !hasCommand {
			n.Cmd = nil // the arguments of the previous entrypoint
		}
	}
	*c = *n
	return nil
}

// apply applies an instruction and returns its name.
func apply(c *Config, instruction string) (name string, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(instruction), " ")
	name, rest = strings.ToUpper(word), strings.TrimSpace(rest)
	set, ok := setters()[name]
	if !ok {
		return name, invalid(instruction, "%s is not a valid change command; "+
			"valid ones are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and "+
			"WORKDIR", name)
	}
	if rest == "" {
		return name, invalid(instruction, "%s requires an argument", name)
	}
	if strings.ContainsRune(rest, 0) {
		return name, invalid(instruction, "contains a zero byte")
	}

	if why := set(c, rest); why != "" {
		return name, invalid(instruction, "%s %s", name, why)
	}

	return name, nil
}

func invalid(instruction, format string, args ...any) error {
	return fault.Invalidf("change "+strconv.Quote(instruction), "change", format, args...)
}

// setter changes a configuration, or returns why the value is not valid.
type setter func(c *Config, rest string) (why string)

func setters() map[string]setter {
	return map[string]setter{
		"CMD":         func(c *Config, s string) string { c.Cmd = command(s); return "" },
		"ENTRYPOINT":  func(c *Config, s string) string { c.Entrypoint = command(s); return "" },
		"ENV":         setEnv,
		"EXPOSE":      setExpose,
		"LABEL":       setLabel,
		"USER":        func(c *Config, s string) string { c.User = s; return "" },
		"WORKDIR":     setWorkdir,
		"STOPSIGNAL":  setStopSignal,
		"HEALTHCHECK": setHealth,
		"ONBUILD":     setOnBuild,
		"VOLUME":      setVolumes,
	}
}

// command parses the JSON form, or returns the shell form.
func command(s string) []string {
	var words []string
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &words) == nil {
		return words
	}
	return []string{"/bin/sh", "-c", s}
}

func setEnv(c *Config, s string) string {
	pairs, why := keyValues(s)
	for _, kv := range pairs {
		c.Env = putEnv(c.Env, kv[0], kv[1])
	}
	return why
}

func putEnv(env []string, key, value string) []string {
	for i, e := range env {
		if k, _, _ := strings.Cut(e, "="); k == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

func setLabel(c *Config, s string) string {
	pairs, why := keyValues(s)
	for _, kv := range pairs {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[kv[0]] = kv[1]
	}
	return why
}

// setVolumes adds the paths of the JSON form, or those separated by spaces.
func setVolumes(c *Config, s string) string {
	var paths []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &paths) != nil {
		paths = strings.Fields(s)
	}
	for _, p := range paths {
		if p == "" {
			return "must not have an empty path"
		}
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[p] = struct{}{}
	}
	return ""
}

func setWorkdir(c *Config, s string) string {
	words, why := words(s)
	if why != "" {
		return why
	}
	dir := strings.Join(words, " ")
	if !path.IsAbs(dir) {
		dir = path.Join("/", c.WorkingDir, dir)
	}
	c.WorkingDir = path.Clean(dir)
	return ""
}

func setStopSignal(c *Config, s string) string {
	if _, err := signal.Parse(s); err != nil {
		return "requires a signal name or number, got " + strconv.Quote(s)
	}
	c.StopSignal = s
	return ""
}

func setExpose(c *Config, s string) string {
	for _, word := range strings.Fields(s) {
		ports, ok := exposed(word)
		if !ok {
			return "requires PORT[-PORT][/tcp|udp|sctp], got " + strconv.Quote(word)
		}
		for _, p := range ports {
			if c.ExposedPorts == nil {
				c.ExposedPorts = map[string]struct{}{}
			}
			c.ExposedPorts[p] = struct{}{}
		}
	}

	return ""
}

func exposed(word string) ([]string, bool) {
	ports, proto, found := strings.Cut(strings.ToLower(word), "/")
	if !found {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, false
	}

	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}

	lo, err1 := strconv.ParseUint(from, 10, 16)
	hi, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || lo == 0 || hi < lo {
		return nil, false
	}

	var out []string
	for p := lo; p <= hi; p++ {
		out = append(out, strconv.FormatUint(p, 10)+"/"+proto)
	}

	return out, true
}

func clone(c *Config) *Config {
	n := *c
	n.Env = append([]string(nil), c.Env...)
	n.Labels = copyMap(c.Labels)
	n.ExposedPorts = copyMap(c.ExposedPorts)
	n.Volumes = copyMap(c.Volumes)
	n.OnBuild = append([]string(nil), c.OnBuild...)
	return &n
}

func copyMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return nil
	}
	n := make(map[string]V, len(m))
	for k, v := range m {
		n[k] = v
	}
	return n
}
