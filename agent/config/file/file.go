// Package file reads the configuration file: JSON as in Docker's daemon.json, with comments and
// trailing commas. Package config defines the keys.
package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

// Read reads a file. A missing file is an empty layer, unless explicit is true. The warnings name
// files next to a daemon.json whose names look misspelled.
func Read(path string, explicit bool) (config.Layer, []string, error) {
	likely := similarNames(path)
	data, err := os.ReadFile(path)
	if err != nil && (explicit || !errors.Is(err, fs.ErrNotExist)) {
		hint := "use a readable file, or remove --config-file"
		if likely != nil {
			hint = "did you mean " + likely[0] + "?"
		}
		return config.Layer{}, nil, fault.New(fault.Invalid, "configuration file "+path, "cannot be read",
			fault.WithCause(reason(err)), fault.WithField("config-file"), fault.WithHint("%s", hint))
	}
	var warnings []string
	if filepath.Base(path) != usual {
		likely = nil // similar names are intended: one file for each host or agent
	}
	for _, other := range likely {
		warnings = append(warnings, fmt.Sprintf("configuration file %s: not used; did you mean %s?", other, path))
	}
	layer, err := Parse(path, data)
	return layer, warnings, err
}

// Check returns all errors of a file, without considering flags or the environment. The warnings
// also report a file name that the agent would not find.
func Check(path string) (warnings []string, err error) {
	layer, warnings, err := Read(path, true)
	if base := filepath.Base(path); base != usual {
		if _, near := config.Suggest(base, []string{usual}); near {
			warnings = append(warnings,
				fmt.Sprintf("configuration file %s: the agent reads %s unless --config-file is given", path, usual))
		}
	}
	_, more := config.Build(layer)
	return warnings, errors.Join(err, more)
}

// DefaultPath is the configuration file of an agent without --config-file.
const DefaultPath = "/etc/fairlead/daemon.json"

// usual is the usual name of a configuration file.
const usual = "daemon.json"

// reason returns a path error without the path, which is in the subject.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// similarNames returns files in the same directory with a similar name. Backup copies, whose names
// start with the whole name, are excluded.
func similarNames(path string) []string {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, base) || strings.HasPrefix(name, ".") {
			continue
		}
		if _, near := config.Suggest(name, []string{base}); near {
			all = append(all, filepath.Join(dir, name))
		}
	}
	return all
}

// Parse parses the content of a file. The name is used in messages. An empty file is an empty
// layer.
func Parse(name string, data []byte) (config.Layer, error) {
	layer := config.Layer{Rank: config.File}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return layer, nil
	}
	root, err := hujson.Parse(append(bytes.Clone(data), '\n')) // hujson requires a line end after a // comment
	if err != nil {
		return layer, fault.New(fault.Invalid, "configuration file "+name,
			"is not JSON: "+strings.TrimPrefix(err.Error(), "hujson: "),
			fault.WithHint("correct the syntax; // and /* */ comments are allowed"))
	}
	object, ok := root.Value.(*hujson.Object)
	if !ok {
		return layer, fault.New(fault.Invalid, "configuration file "+name, "is not an object",
			fault.WithHint(`write {"KEY": VALUE, …}`))
	}
	r := reader{name: name, data: data, lines: map[string]int{}}
	r.object("", object)
	layer.Settings = r.settings
	return layer, errors.Join(r.problems...)
}

type reader struct {
	name     string
	data     []byte
	lines    map[string]int // of the keys seen so far
	settings []config.Setting
	problems []error
}

func (r *reader) object(parent string, o *hujson.Object) {
	for _, m := range o.Members {
		key := parent + m.Name.Value.(hujson.Literal).String()
		line := 1 + bytes.Count(r.data[:m.Name.StartOffset], []byte("\n"))
		if first, twice := r.lines[key]; twice {
			r.problems = append(r.problems, fault.New(fault.Invalid, fmt.Sprintf("%s (%s:%d)", key, r.name, line),
				fmt.Sprintf("is already set in line %d", first), fault.WithField(key),
				fault.WithHint("keep one of them")))
			continue
		}
		r.lines[key] = line
		if inner, ok := m.Value.Value.(*hujson.Object); ok && parent == "" && config.IsGroup(key) {
			r.object(key+".", inner)
			continue
		}
		shape, texts := read(m.Value.Value)
		r.settings = append(r.settings, config.Setting{Key: key, Shape: shape, Texts: texts,
			Origin: config.Origin{Rank: config.File, Name: r.name, Line: line}})
	}
}

// read returns the shape and texts of a value.
func read(v hujson.ValueTrimmed) (config.Shape, []string) {
	switch v := v.(type) {
	case hujson.Literal:
		return readLiteral(v)
	case *hujson.Array:
		if len(v.Elements) > 0 {
			if _, ok := v.Elements[0].Value.(*hujson.Object); ok {
				return readObjects(v)
			}
		}
		texts := []string{}
		for _, e := range v.Elements {
			l, ok := e.Value.(hujson.Literal)
			if !ok || l.Kind() != '"' {
				return config.Other, nil
			}
			texts = append(texts, l.String())
		}
		return config.Array, texts
	case *hujson.Object:
		return readNested(v)
	}
	return config.Other, nil
}

// readNested parses {"bridge": {"com.docker.network.driver.mtu": "1400"}}.
func readNested(o *hujson.Object) (config.Shape, []string) {
	texts := []string{}
	for _, outer := range o.Members {
		inner, ok := outer.Value.Value.(*hujson.Object)
		if !ok {
			return config.Other, nil
		}
		for _, m := range inner.Members {
			value, ok := m.Value.Value.(hujson.Literal)
			if !ok {
				return config.Other, nil
			}
			driver, option := outer.Name.Value.(hujson.Literal).String(), m.Name.Value.(hujson.Literal).String()
			texts = append(texts, driver+"="+option+"="+value.String())
		}
	}
	return config.Nested, texts
}

// readObjects parses [{"base": "10.0.0.0/8", "size": 24}].
func readObjects(a *hujson.Array) (config.Shape, []string) {
	texts := []string{}
	for _, e := range a.Elements {
		o, ok := e.Value.(*hujson.Object)
		if !ok {
			return config.Other, nil
		}
		var members []string
		for _, m := range o.Members {
			value, ok := m.Value.Value.(hujson.Literal)
			if !ok {
				return config.Other, nil
			}
			members = append(members, m.Name.Value.(hujson.Literal).String()+"="+value.String())
		}
		texts = append(texts, strings.Join(members, ","))
	}
	return config.Objects, texts
}

func readLiteral(l hujson.Literal) (config.Shape, []string) {
	switch l.Kind() {
	case '"':
		return config.Text, []string{l.String()}
	case '0':
		return config.Numeral, []string{l.String()}
	case 't', 'f':
		return config.Truth, []string{l.String()}
	}
	return config.Other, nil
}
