// Package volume defines volumes: names, options of the driver local, and the mount that the options
// describe. It performs no I/O. Package store stores volumes; package volumes keeps their files.
package volume

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Local is the only driver: directories below the data root, or what its options mount there.
const Local = "local"

// AnonymousLabel marks volumes that no user named, as in Docker.
const AnonymousLabel = "com.docker.volume.anonymous"

// Volume is a volume. A stored Volume is immutable.
type Volume struct {
	Name      string
	Driver    string
	Options   map[string]string
	Labels    map[string]string
	CreatedAt time.Time
	Removing  bool `json:",omitempty"` // its data is being deleted; it cannot be used
}

// Anonymous reports whether no user named the volume.
func (v *Volume) Anonymous() bool {
	_, ok := v.Labels[AnonymousLabel]
	return ok
}

// Subject returns the subject of a fault about a volume.
func Subject(name string) string { return "volume " + name }

// maxName is the longest name of a directory.
const maxName = 255

// ValidateName checks the name of a volume.
func ValidateName(name string) error {
	switch {
	case len(name) == 1:
		return fault.Invalidf(Subject(name), "volume",
			"volume name is too short, names should be at least two alphanumeric characters")
	case name == "" || !alphanumeric(name[0]) || strings.ContainsFunc(name, func(r rune) bool {
		return r > 127 || !alphanumeric(byte(r)) && !strings.ContainsRune("_.-", r)
	}):
		return fault.New(fault.Invalid, Subject(name), `"`+name+`" includes invalid characters for a local volume `+
			`name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed`, fault.WithField("volume"),
			fault.WithHint("if you intended to pass a host directory, use absolute path"))
	case len(name) > maxName:
		return fault.Invalidf(Subject(name), "volume", "the name is longer than %d bytes", maxName)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// New returns a validated volume. An empty driver is Local.
func New(name, driver string, options, labels map[string]string, at time.Time) (*Volume, error) {
	if driver != "" && driver != Local {
		return nil, fault.New(fault.NotFound, Subject(name),
			`error looking up volume plugin `+driver+`: plugin "`+driver+`" not found`, fault.WithField("driver"),
			fault.WithHint("use the driver local"))
	}
	if err := ValidateName(name); err != nil {
		return nil, err
	}

	for k := range labels {
		if k == "" {
			return nil, fault.Invalidf(Subject(name), "label", "a label must have a name")
		}
	}

	v := &Volume{Name: name, Driver: Local, Options: options, Labels: labels, CreatedAt: at}
	if _, err := v.Mount(); err != nil {
		return nil, err
	}

	return v, nil
}

// Conflict returns a fault if a volume that is created again with options or labels has others.
func (v *Volume) Conflict(again *Volume) error {
	switch {
	case len(again.Options) > 0 && !maps.Equal(v.Options, again.Options):
		return fault.New(fault.Exists, Subject(v.Name), "already exists with other options",
			fault.WithField("opt"), fault.WithHint("remove it first, or choose another name"))
	case len(again.Labels) > 0 && !maps.Equal(v.Labels, again.Labels):
		return fault.New(fault.Exists, Subject(v.Name), "already exists with other labels",
			fault.WithField("label"), fault.WithHint("remove it first, or choose another name"))
	}
	return nil
}

// InUse returns the fault for the removal of a volume that containers use.
func InUse(name string, users []string) error {
	return fault.New(fault.Busy, Subject(name), "remove "+name+": volume is in use - ["+strings.Join(users, ", ")+"]",
		fault.WithHint("remove these containers first: fairlead ps -a --filter volume=%s", name))
}

// NotFound returns the fault for a volume that does not exist.
func NotFound(name string) error {
	return fault.New(fault.NotFound, Subject(name), "get "+name+": no such volume")
}

// HasLabel reports whether a volume has a label, KEY or KEY=VALUE.
func (v *Volume) HasLabel(spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := v.Labels[key]
	return ok && (!valued || got == want)
}

// ParseFrom parses --volumes-from: CONTAINER[:ro|:rw]. A label of SELinux, z or Z, is accepted and has no
// effect.
func ParseFrom(spec string) (ref string, readOnly bool, err error) {
	ref, mode, _ := strings.Cut(spec, ":")
	switch {
	case ref == "":
		return "", false, fault.Invalidf("container", "volumes-from", "invalid volumes-from specification: %q", spec)
	case mode == "":
		return ref, false, nil
	}

	var access, labels int
	for m := range strings.SplitSeq(mode, ",") {
		switch m {
		case "ro", "rw":
			access, readOnly = access+1, m == "ro"
		case "z", "Z":
			labels++
		default:
			access = 2
		}
	}

	if access > 1 || labels > 1 {
		return "", false, fault.Invalidf("container", "volumes-from", "invalid mode %q for volumes-from", mode)
	}

	return ref, readOnly, nil
}

// Selection selects volumes to prune.
type Selection struct {
	All             bool // named ones too
	Labels, Exclude []string
}

// Includes reports whether a volume is selected.
func (s Selection) Includes(v *Volume) bool {
	return (s.All || v.Anonymous()) && len(v.Options) == 0 &&
		!slices.ContainsFunc(s.Labels, func(l string) bool { return !v.HasLabel(l) }) &&
		!slices.ContainsFunc(s.Exclude, v.HasLabel)
}
