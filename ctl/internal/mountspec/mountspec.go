// Package mountspec parses -v and --mount. It performs no I/O: the working directory is passed in.
// Only bind mounts are supported; named and anonymous volumes are rejected with a hint.
package mountspec

import (
	"encoding/csv"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Bind is a bind mount of a host path in a container.
type Bind struct {
	Source       string // absolute
	Target       string // absolute
	ReadOnly     bool
	Propagation  string // empty: the default
	CreateSource bool   // create a missing source as a directory, as -v does
}

// propagations lists the propagation modes of bind mounts.
var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// isHint reports whether a mode is accepted without effect: SELinux labels and Docker's consistency
// modes.
func isHint(mode string) bool {
	return slices.Contains([]string{"z", "Z", "cached", "delegated", "consistent", "default"}, mode)
}

// ParseVolume parses -v HOST:CONTAINER[:OPTIONS]. A HOST that starts with "." is relative to the
// directory wd.
func ParseVolume(spec, wd string) (Bind, error) {
	subject := "-v " + spec
	parts := strings.Split(spec, ":")
	if len(parts) == 1 {
		return Bind{}, fault.New(fault.Invalid, subject, "anonymous volumes are not supported",
			fault.WithField("volume"), fault.WithHint("use a bind mount: HOST_PATH:CONTAINER_PATH"))
	}
	if len(parts) > 3 || slices.Contains(parts, "") {
		return Bind{}, invalid(subject, "invalid volume specification: '%s'", spec)
	}

	b := Bind{Source: absolute(parts[0], wd), Target: parts[1], CreateSource: true}
	if !path.IsAbs(b.Source) {
		return Bind{}, fault.New(fault.Invalid, subject, "named volumes are not supported", fault.WithField("volume"),
			fault.WithHint("if you intended to pass a host directory, use an absolute path or ./%s", b.Source))
	}
	if len(parts) == 3 {
		if err := b.options(subject, parts[2]); err != nil {
			return Bind{}, err
		}
	}

	return b, b.check(subject)
}

func (b *Bind) options(subject, list string) error {
	access := ""
	for o := range strings.SplitSeq(list, ",") {
		switch {
		case (o == "ro" || o == "rw") && access == "":
			access, b.ReadOnly = o, o == "ro"
		case slices.Contains(propagations, o) && b.Propagation == "":
			b.Propagation = o
		case isHint(o):
		default:
			return fault.New(fault.Invalid, subject, "invalid mode: "+list, fault.WithField("volume"),
				fault.WithHint("use ro or rw, and one of %s", strings.Join(propagations, ", ")))
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

func (b *Bind) check(subject string) error {
	switch {
	case !path.IsAbs(b.Target):
		return invalid(subject, "invalid mount path: '%s' mount path must be absolute", b.Target)
	case path.Clean(b.Target) == "/":
		return invalid(subject, "invalid specification: destination can't be '/'")
	}
	b.Source, b.Target = path.Clean(b.Source), path.Clean(b.Target)
	return nil
}

func invalid(subject, format string, args ...any) error {
	return fault.Invalidf(subject, "volume", format, args...)
}

// ParseMount parses --mount type=bind,source=PATH,target=PATH[,readonly][,bind-propagation=MODE].
// The agent requires that the source exists.
func ParseMount(spec, wd string) (Bind, error) {
	subject := "--mount " + spec
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return Bind{}, fault.New(fault.Invalid, subject, "invalid mount specification", fault.WithField("mount"),
			fault.WithCause(err))
	}

	b, kind := Bind{}, "volume"
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if key == "type" {
			kind = strings.ToLower(value)
			continue
		}
		if err := b.set(subject, f, wd); err != nil {
			return Bind{}, err
		}
	}

	switch {
	case kind != "bind":
		return Bind{}, fault.New(fault.Invalid, subject, "mount type "+kind+" is not supported",
			fault.WithField("mount"),
			fault.WithHint("use type=bind"))
	case b.Source == "":
		return Bind{}, invalid(subject, "source is required")
	case b.Target == "":
		return Bind{}, invalid(subject, "target is required")
	case !path.IsAbs(b.Source):
		return Bind{}, invalid(subject, "invalid mount path: '%s' mount path must be absolute", b.Source)
	}

	return b, b.check(subject)
}

func (b *Bind) set(subject, field, wd string) (err error) {
	key, value, given := strings.Cut(field, "=")
	switch strings.ToLower(key) {
	case "source", "src":
		b.Source = absolute(value, wd)
	case "target", "dst", "destination":
		b.Target = value
	case "readonly", "ro":
		b.ReadOnly = true
		if given {
			if b.ReadOnly, err = strconv.ParseBool(value); err != nil {
				return invalid(subject, "invalid value for %s: %s", key, value)
			}
		}
	case "consistency":
		if !isHint(value) || strings.EqualFold(value, "z") {
			return invalid(subject, "invalid consistency %q; one of consistent, cached, delegated, default", value)
		}
	case "bind-propagation":
		if !slices.Contains(propagations, value) {
			return invalid(subject, "invalid propagation mode %q; one of %s", value, strings.Join(propagations, ", "))
		}
		b.Propagation = value
	default:
		return fault.New(fault.Invalid, subject, "unexpected key '"+key+"' in '"+field+"'", fault.WithField("mount"),
			fault.WithHint("use type, source, target, readonly, bind-propagation or consistency"))
	}

	return nil
}
