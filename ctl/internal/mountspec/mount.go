package mountspec

import (
	"encoding/csv"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/ctl/internal/limitspec"
	"github.com/fairlead/fairlead/proto/fault"
)

// ParseMount parses --mount type=TYPE,KEY=VALUE,... The default type is volume.
func ParseMount(spec, wd string) (Mount, error) {
	subject := "--mount " + spec
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return Mount{}, fault.New(fault.Invalid, subject, "invalid mount specification", fault.WithField("mount"),
			fault.WithCause(err))
	}

	p := parser{subject: subject, wd: wd, m: Mount{Type: Volume}}
	for _, f := range fields {
		if err := p.set(f); err != nil {
			return Mount{}, err
		}
	}

	if err := p.finish(); err != nil {
		return Mount{}, err
	}
	return p.m, p.m.check(subject)
}

type parser struct {
	subject, wd string
	m           Mount
	groups      []string // of the options that belong to one type: "bind", "volume", "image", "tmpfs"
}

// finish checks what depends on several fields.
func (p *parser) finish() error {
	m := &p.m
	if !slices.Contains([]Type{Bind, Volume, Tmpfs, Image}, m.Type) {
		return fault.New(fault.Invalid, p.subject, "mount type unknown: "+strconv.Quote(string(m.Type)),
			fault.WithField("mount"), fault.WithHint("use type=bind, volume, tmpfs or image"))
	}
	for _, group := range p.groups {
		if group != string(m.Type) {
			return invalid(p.subject, "cannot mix '%s-*' options with mount type '%s'", group, m.Type)
		}
	}

	if m.Type == Bind {
		m.Source = absolute(m.Source, p.wd)
	}
	switch {
	case m.Source == "" && (m.Type == Bind || m.Type == Image):
		return invalid(p.subject, "source is required")
	case m.Source != "" && m.Type == Tmpfs:
		return invalid(p.subject, "a tmpfs mount must not have a source")
	case m.Target == "":
		return invalid(p.subject, "target is required")
	case m.Type == Bind && !path.IsAbs(m.Source):
		return invalid(p.subject, "invalid mount path: '%s' mount path must be absolute", m.Source)
	}

	return nil
}

// set sets one KEY=VALUE or KEY.
func (p *parser) set(field string) error {
	key, value, given := strings.Cut(field, "=")
	key = strings.ToLower(key)
	if group, _, ok := strings.Cut(key, "-"); ok {
		p.groups = append(p.groups, group)
	}

	m := &p.m
	switch key {
	case "type":
		m.Type = Type(strings.ToLower(value))
	case "source", "src":
		m.Source = value
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		return p.flag(&m.ReadOnly, key, value, given)
	case "volume-nocopy":
		return p.flag(&m.NoCopy, key, value, given)
	case "bind-nonrecursive":
		return p.flag(&m.NonRecursive, key, value, given)
	case "bind-recursive":
		return p.recursive(value)
	case "consistency":
		if !isHint(value) || strings.EqualFold(value, "z") {
			return invalid(p.subject, "invalid consistency %q; one of consistent, cached, delegated, default", value)
		}
	case "bind-propagation":
		if !slices.Contains(propagations, value) {
			return invalid(p.subject, "invalid propagation mode %q; one of %s", value, strings.Join(propagations, ", "))
		}
		m.Propagation = value
	case "volume-subpath", "image-subpath":
		m.Subpath = value
	case "volume-driver":
		m.Driver = value
	case "volume-opt":
		return p.pair(&m.Options, value)
	case "volume-label":
		return p.pair(&m.Labels, value)
	default:
		return p.setTmpfs(key, value, field)
	}

	return nil
}

func (p *parser) setTmpfs(key, value, field string) error {
	switch key {
	case "tmpfs-size":
		size, err := limitspec.ParseSize(value)
		if err != nil || size < 0 {
			return invalid(p.subject, "invalid value for %s: %s", key, value)
		}
		p.m.TmpfsSize = size
	case "tmpfs-mode":
		n, err := strconv.ParseUint(value, 8, 12)
		if err != nil {
			return invalid(p.subject, "invalid value for %s: %s", key, value)
		}
		mode := uint32(n)
		p.m.TmpfsMode = &mode
	default:
		return fault.New(fault.Invalid, p.subject, "unexpected key '"+key+"' in '"+field+"'", fault.WithField("mount"),
			fault.WithHint("use type, source, target, readonly, consistency, bind-propagation, bind-recursive, "+
				"volume-nocopy, volume-subpath, volume-driver, volume-opt, volume-label, image-subpath, tmpfs-size "+
				"or tmpfs-mode"))
	}
	return nil
}

func (p *parser) flag(to *bool, key, value string, given bool) (err error) {
	if *to = true; given {
		if *to, err = strconv.ParseBool(value); err != nil {
			return invalid(p.subject, "invalid value for %s: %s", key, value)
		}
	}
	return nil
}

// recursive parses bind-recursive. A read-only mount is always recursively read-only if the kernel
// supports it.
func (p *parser) recursive(value string) error {
	switch value {
	case "enabled", "writable", "readonly":
	case "disabled":
		p.m.NonRecursive = true
	default:
		return invalid(p.subject, "invalid value for bind-recursive: %s; one of enabled, disabled, writable, readonly",
			value)
	}
	return nil
}

// pair adds NAME[=VALUE] to a map.
func (p *parser) pair(to *map[string]string, text string) error {
	name, value, _ := strings.Cut(text, "=")
	if name == "" {
		return invalid(p.subject, "%q is not a valid NAME=VALUE", text)
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[name] = value
	return nil
}
