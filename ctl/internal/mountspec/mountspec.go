// Package mountspec parses -v, --mount and --tmpfs. It performs no I/O: the working directory is passed in. The
// agent checks the names of volumes, and whether sources exist.
package mountspec

import (
	"path"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Type is the kind of a mount.
type Type string

// The kinds of mounts.
const (
	Bind   Type = "bind"
	Volume Type = "volume"
	Tmpfs  Type = "tmpfs"
	Image  Type = "image"
)

// Mount is a mount in a container.
type Mount struct {
	Type   Type
	Source string // absolute path, name of a volume, or image; empty for a tmpfs or an anonymous volume
	Target string // absolute

	ReadOnly     bool
	Propagation  string // empty: the default
	CreateSource bool   // create a missing source as a directory, as -v does
	NonRecursive bool

	Subpath         string
	NoCopy          bool
	Driver          string
	Options, Labels map[string]string

	TmpfsSize    int64
	TmpfsMode    *uint32
	TmpfsOptions []string // of --tmpfs
}

// propagations lists the propagation modes of bind mounts.
var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// isHint reports whether a mode is accepted without effect: SELinux labels and Docker's consistency
// modes.
func isHint(mode string) bool {
	return slices.Contains([]string{"z", "Z", "cached", "delegated", "consistent", "default"}, mode)
}

// ParseVolume parses -v [SOURCE:]TARGET[:OPTIONS]. A SOURCE that starts with "." is relative to the
// directory wd; one that is not absolute names a volume. Without SOURCE the volume is
// anonymous.
func ParseVolume(spec, wd string) (Mount, error) {
	subject := "-v " + spec
	parts := strings.Split(spec, ":")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return Mount{}, invalid(subject, "invalid volume specification: '%s'", spec)
	}
	if len(parts) == 1 {
		m := Mount{Type: Volume, Target: parts[0]}
		return m, m.check(subject)
	}

	m := Mount{Type: Bind, Source: absolute(parts[0], wd), Target: parts[1], CreateSource: true}
	if !path.IsAbs(m.Source) {
		m.Type, m.CreateSource = Volume, false
	}
	if len(parts) == 3 {
		if err := m.modes(subject, parts[2]); err != nil {
			return Mount{}, err
		}
	}

	return m, m.check(subject)
}

// ParseTmpfs parses --tmpfs TARGET[:OPTION,...]. The agent checks the options. The working directory
// is ignored.
func ParseTmpfs(spec, _ string) (Mount, error) {
	subject := "--tmpfs " + spec
	target, list, given := strings.Cut(spec, ":")
	m := Mount{Type: Tmpfs, Target: target}
	if given {
		m.TmpfsOptions = strings.Split(list, ",")
	}
	if slices.Contains(m.TmpfsOptions, "") {
		return Mount{}, fault.New(fault.Invalid, subject, "has an empty option", fault.WithField("tmpfs"),
			fault.WithHint("write TARGET or TARGET:OPTION,OPTION, as in /run:rw,size=64m"))
	}
	return m, m.check(subject)
}

func (m *Mount) modes(subject, list string) error {
	access := ""
	for o := range strings.SplitSeq(list, ",") {
		switch {
		case (o == "ro" || o == "rw") && access == "":
			access, m.ReadOnly = o, o == "ro"
		case m.Type == Bind && slices.Contains(propagations, o) && m.Propagation == "":
			m.Propagation = o
		case o == "nocopy" && m.Type == Volume && !m.NoCopy:
			m.NoCopy = true
		case isHint(o):
		default:
			hint := "use ro or rw, and one of " + strings.Join(propagations, ", ")
			if m.Type == Volume {
				hint = "use ro or rw, and nocopy"
			}
			return fault.New(fault.Invalid, subject, "invalid mode: "+list, fault.WithField("volume"),
				fault.WithHint("%s", hint))
		}
	}

	return nil
}

// absolute joins a path that starts with "." to wd. Other paths are returned unchanged.
func absolute(p, wd string) string {
	if p == "." || p == ".." || strings.HasPrefix(p, "./") || strings.HasPrefix(p, "../") {
		return path.Join(wd, p)
	}
	return p
}

func (m *Mount) check(subject string) error {
	switch {
	case !path.IsAbs(m.Target):
		return invalid(subject, "invalid mount path: '%s' mount path must be absolute", m.Target)
	case path.Clean(m.Target) == "/":
		return invalid(subject, "invalid specification: destination can't be '/'")
	}
	m.Target = path.Clean(m.Target)
	if m.Type == Bind {
		m.Source = path.Clean(m.Source)
	}
	return nil
}

func invalid(subject, format string, args ...any) error {
	return fault.Invalidf(subject, "volume", format, args...)
}
