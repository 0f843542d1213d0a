// Package mountspec reads what people write after -v and --mount. It is pure: the working directory that a relative path is
// joined to is passed in. Only bind mounts are known; a named or anonymous volume is refused with what to write in its place.
package mountspec

import (
	"encoding/csv"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Bind shows a path of the host in the container.
type Bind struct {
	Source       string // absolute
	Target       string // absolute
	ReadOnly     bool
	Propagation  string // empty: the default
	CreateSource bool   // make a missing source as a folder, as -v does
}

// propagations are the ways in which mounts below a bind mount are shared.
var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// isHint reports whether a mode is accepted and has no effect: SELinux labels, which are not set, and Docker's consistency
// modes, which have no effect on Linux.
func isHint(mode string) bool {
	return slices.Contains([]string{"z", "Z", "cached", "delegated", "consistent", "default"}, mode)
}

// ParseVolume reads -v HOST:CONTAINER[:OPTIONS]. A HOST that begins with "." is taken from the folder wd.
func ParseVolume(spec, wd string) (Bind, error) {
	subject := "-v " + spec
	parts := strings.Split(spec, ":")
	if len(parts) == 1 {
		return Bind{}, fault.New(fault.Invalid, subject, "only bind mounts are known, not anonymous volumes",
			fault.WithField("volume"), fault.WithHint("write HOST_PATH:CONTAINER_PATH"))
	}
	if len(parts) > 3 || slices.Contains(parts, "") {
		return Bind{}, invalid(subject, "invalid volume specification: '%s'", spec)
	}
	b := Bind{Source: absolute(parts[0], wd), Target: parts[1], CreateSource: true}
	if !path.IsAbs(b.Source) {
		return Bind{}, fault.New(fault.Invalid, subject, "only bind mounts are known, not named volumes", fault.WithField("volume"),
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
				fault.WithHint("ro or rw, and one of %s", strings.Join(propagations, ", ")))
		}
	}
	return nil
}

// absolute joins a path that begins with "." to wd. Others stay as they are.
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

// ParseMount reads --mount type=bind,source=PATH,target=PATH[,readonly][,bind-propagation=MODE]. The source must exist.
func ParseMount(spec, wd string) (Bind, error) {
	subject := "--mount " + spec
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return Bind{}, fault.New(fault.Invalid, subject, "invalid mount specification", fault.WithField("mount"), fault.WithCause(err))
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
		return Bind{}, fault.New(fault.Invalid, subject, "mounts of the type "+kind+" are not known", fault.WithField("mount"),
			fault.WithHint("write type=bind"))
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
			fault.WithHint("known are type, source, target, readonly, bind-propagation and consistency"))
	}
	return nil
}
