package config

import (
	"cmp"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Ulimit is a default resource limit of containers' processes. -1 means unlimited.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// Runtime is an OCI runtime with a name.
type Runtime struct{ Name, Path string }

// minShmSize is the smallest useful size of /dev/shm: one page.
const minShmSize = 4096

// defaultKeys returns the keys with the defaults of containers' options.
func defaultKeys() []Key {
	return []Key{
		{Name: "runtimes", Kind: Runtimes, Flag: "add-runtime", Usage: "Additional OCI runtime: NAME=PATH",
			set: addRuntime},
		{Name: "default-ulimits", Kind: Ulimits, Flag: "default-ulimit",
			Usage: "Default limit of processes: NAME=SOFT[:HARD]", set: addUlimit},
		{Name: "default-shm-size", Flag: "default-shm-size", Default: "64m", Usage: "Default size of /dev/shm",
			set: setShmSize},
		{Name: "default-ipc-mode", Flag: "default-ipc-mode", Default: "private",
			Usage: "Default IPC mode: private or shareable",
			set:   oneOf(func(c *Config) *string { return &c.IPCMode }, "private", "shareable")},
		{Name: "default-cgroupns-mode", Flag: "default-cgroupns-mode",
			Usage: "Default cgroup namespace: private or host (default: private with cgroup v2)",
			set:   oneOf(func(c *Config) *string { return &c.CgroupnsMode }, "private", "host")},
		{Name: "cgroup-parent", Flag: "cgroup-parent", Usage: "Parent of containers' cgroups (default: /fairlead)",
			set: setCgroupParent},
		{Name: "init", Kind: Bool, Flag: "init", Usage: "Run an init process in each container",
			set: truth(func(c *Config) *bool { return &c.Init })},
		{Name: "init-path", Flag: "init-path", Usage: "Init program (default: docker-init, catatonit or tini-static)",
			set: path(func(c *Config) *string { return &c.InitPath })},
		{Name: "no-new-privileges", Kind: Bool, Flag: "no-new-privileges",
			Usage: "Set no-new-privileges for each container",
			set:   truth(func(c *Config) *bool { return &c.NoNewPrivileges })},
		{Name: "seccomp-profile", Flag: "seccomp-profile",
			Usage: "Default seccomp profile: a file, builtin or unconfined", set: setSeccompProfile},
		{Name: "oom-score-adjust", Kind: Number, Flag: "oom-score-adjust",
			Usage: "OOM preference of the agent: -1000 to 1000", set: setOOMScore},
	}
}

// oneOf accepts one of some values.
func oneOf(field func(*Config) *string, values ...string) func(*Config, string) error {
	return func(c *Config, text string) error {
		if !slices.Contains(values, text) {
			return bad("write "+strings.Join(values, " or "), "invalid value %q", text)
		}
		*field(c) = text
		return nil
	}
}

func setShmSize(c *Config, text string) error {
	n, ok := parseSize(text)
	if !ok || n < minShmSize {
		return bad("write a size such as 64m", "%q is not a valid size", text)
	}
	c.ShmSize = n
	return nil
}

func setCgroupParent(c *Config, text string) error {
	if slices.Contains(strings.Split(text, "/"), "..") || strings.Trim(text, "/") == "" ||
		strings.ContainsAny(text, "\n\x00") {
		return bad("write a path below the root of the cgroups, as in /containers", "%q is not a valid cgroup", text)
	}
	c.CgroupParent = text
	return nil
}

func setSeccompProfile(c *Config, text string) error {
	if text != "builtin" && text != "unconfined" && !filepath.IsAbs(text) {
		return bad("write builtin, unconfined or an absolute path", "%q is not a profile", text)
	}
	c.SeccompProfile = text
	return nil
}

func setOOMScore(c *Config, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1000 || n > 1000 {
		return bad("write a number from -1000 to 1000", "%q is not a valid score", text)
	}
	c.OOMScoreAdjust = &n
	return nil
}

// addRuntime parses NAME=PATH of a flag, or NAME=path=PATH of the file.
func addRuntime(c *Config, text string) error {
	name, value, _ := strings.Cut(text, "=")
	if key, path, member := strings.Cut(value, "="); member {
		if key != "path" {
			return bad("name a program that sets it, as in {\"path\": \"/usr/local/bin/my-runtime\"}",
				"%s of runtime %s is not supported", key, name)
		}
		value = path
	}
	if name == "" || strings.ContainsAny(name, "/ \t\n") || !filepath.IsAbs(value) {
		return bad("write NAME=/absolute/path", "%q is not a valid runtime", text)
	}
	if slices.ContainsFunc(c.Runtimes, func(r Runtime) bool { return r.Name == name }) {
		return nil // of a higher layer
	}
	c.Runtimes = append(c.Runtimes, Runtime{Name: name, Path: value})
	return nil
}

var ulimitNames = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack"}

// addUlimit parses NAME=SOFT[:HARD] of a flag, or NAME=Soft=NUMBER of the file, which has a text for
// each member. The hard limit must not be lower; finishUlimits checks it.
func addUlimit(c *Config, text string) error {
	const hint = `write NAME=SOFT[:HARD], or {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}`
	name, value, _ := strings.Cut(text, "=")
	if !slices.Contains(ulimitNames, name) {
		return bad("the names are "+strings.Join(ulimitNames, ", "), "%q is not a limit", name)
	}

	if member, number, ok := strings.Cut(value, "="); ok {
		return c.addUlimitMember(name, strings.ToLower(member), number, hint)
	}
	soft, hard, _ := strings.Cut(value, ":")
	s, err := parseLimit(soft)
	h, herr := parseLimit(cmp.Or(hard, soft))
	if err != nil || herr != nil || !ordered(s, h) {
		return bad(hint, "%q is not a valid limit", text)
	}
	if !slices.ContainsFunc(c.Ulimits, func(u Ulimit) bool { return u.Name == name }) {
		c.Ulimits = append(c.Ulimits, Ulimit{name, s, h})
		c.wholeUlimits = append(c.wholeUlimits, name)
	}
	return nil
}

// addUlimitMember adds a member of a limit in the file. Members of a limit that a flag sets are
// ignored.
func (c *Config) addUlimitMember(name, member, number, hint string) error {
	if member == "name" {
		if number != name {
			return bad(hint, "the name %q of limit %s differs from its key", number, name)
		}
		return nil
	}
	n, err := parseLimit(number)
	if err != nil || member != "soft" && member != "hard" {
		return bad(hint, "%s=%s of %s is not valid", member, number, name)
	}
	if slices.Contains(c.wholeUlimits, name) {
		return nil
	}

	i := slices.IndexFunc(c.Ulimits, func(u Ulimit) bool { return u.Name == name })
	if i < 0 { // the other member follows
		c.Ulimits = append(c.Ulimits, Ulimit{name, n, n})
		return nil
	}
	u := &c.Ulimits[i]
	if member == "soft" {
		u.Soft = n
	} else {
		u.Hard = n
	}
	if !ordered(u.Soft, u.Hard) {
		return bad("lower the soft limit", "soft limit %d of %s is higher than the hard limit %d", u.Soft, name, u.Hard)
	}
	return nil
}

func parseLimit(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && n < -1 {
		err = strconv.ErrRange
	}
	return n, err
}

// ordered reports whether a soft limit is not higher than the hard limit.
func ordered(soft, hard int64) bool { return hard == -1 || soft != -1 && soft <= hard }

// parseSize parses 512k, 10m or 1g in Docker's binary units.
func parseSize(text string) (int64, bool) {
	number, unit := strings.ToLower(text), int64(1)
	for suffix, factor := range map[string]int64{"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kb": 1 << 10,
		"mb": 1 << 20, "gb": 1 << 30} {
		if n, ok := strings.CutSuffix(strings.ToLower(text), suffix); ok && len(n) < len(number) {
			number, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}
