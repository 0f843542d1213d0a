// Package file reads the configuration file: JSON as Docker's daemon.json, in which comments and trailing commas are welcome.
// What the keys mean is package config's.
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

// Read reads a file. One that is not there is an empty layer, unless somebody named it explicitly. The warnings name files
// in its directory whose names look like misspellings of daemon.json, where that is its name.
func Read(path string, explicit bool) (config.Layer, []string, error) {
	likely := similarNames(path)
	data, err := os.ReadFile(path)
	if err != nil && (explicit || !errors.Is(err, fs.ErrNotExist)) {
		hint := "name a file that can be read, or leave --config-file out"
		if likely != nil {
			hint = "did you mean " + likely[0] + "?"
		}
		return config.Layer{}, nil, fault.New(fault.Invalid, "configuration file "+path, "cannot be read",
			fault.WithCause(reason(err)), fault.WithField("config-file"), fault.WithHint("%s", hint))
	}
	var warnings []string
	if filepath.Base(path) != usual {
		likely = nil // a file that was named so has neighbours like it: one a host, or one an agent
	}
	for _, other := range likely {
		warnings = append(warnings, fmt.Sprintf("configuration file %s: nothing reads it; did you mean to name it %s?", other, path))
	}
	layer, err := Parse(path, data)
	return layer, warnings, err
}

// Check tells everything that is wrong with a file that an agent would be started with and nothing else. The warnings also tell
// when the agent would not find it under its name.
func Check(path string) (warnings []string, err error) {
	layer, warnings, err := Read(path, true)
	if base := filepath.Base(path); base != usual {
		if _, near := config.Suggest(base, []string{usual}); near {
			warnings = append(warnings, fmt.Sprintf("configuration file %s: an agent reads %s unless --config-file says otherwise; did you mean to name it so?", path, usual))
		}
	}
	_, more := config.Build(layer)
	return warnings, errors.Join(err, more)
}

// DefaultPath is the file that an agent reads unless it is given another one.
const DefaultPath = "/etc/fairlead/daemon.json"

// usual is what configuration files are called.
const usual = "daemon.json"

// reason is a path error without the path, which the subject already says.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// similarNames finds files in the same folder that are nearly called the same. Backup copies, which go on after the whole name,
// are none.
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

// Parse reads a file's content. Name is for messages. A file with nothing in it sets nothing.
func Parse(name string, data []byte) (config.Layer, error) {
	layer := config.Layer{Rank: config.File}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return layer, nil
	}
	root, err := hujson.Parse(append(bytes.Clone(data), '\n')) // it wants a line end after a // comment
	if err != nil {
		return layer, fault.New(fault.Invalid, "configuration file "+name, "is not JSON: "+strings.TrimPrefix(err.Error(), "hujson: "),
			fault.WithHint("correct it; // and /* */ comments are allowed"))
	}
	object, ok := root.Value.(*hujson.Object)
	if !ok {
		return layer, fault.New(fault.Invalid, "configuration file "+name, "is not an object", fault.WithHint(`write {"KEY": VALUE, …}`))
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
				fmt.Sprintf("it is already set in line %d", first), fault.WithField(key), fault.WithHint("keep one of them")))
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

// read gives a value's shape and texts.
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

// readNested reads {"bridge": {"com.docker.network.driver.mtu": "1400"}}.
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
			texts = append(texts, outer.Name.Value.(hujson.Literal).String()+"="+m.Name.Value.(hujson.Literal).String()+"="+value.String())
		}
	}
	return config.Nested, texts
}

// readObjects reads [{"base": "10.0.0.0/8", "size": 24}].
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
