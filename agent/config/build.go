package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Build merges layers and checks the result. The highest layer determines a scalar. Lists are
// merged without duplicates, the elements of the highest layer first. The error joins one Invalid
// fault for each problem, with key, origin and hint.
func Build(layers ...Layer) (*Config, error) {
	b := newBuilder()
	b.merge(slices.Concat([]Layer{defaults()}, layers))
	b.read()
	return b.config, b.finish()
}

func newBuilder() *builder {
	b := &builder{keys: map[string]Key{}, config: &Config{values: map[string]Value{}}, unread: map[string]bool{}}
	for _, k := range Keys() {
		b.keys[k.Name] = k
	}
	return b
}

// finish derives missing values and adds conflicts between keys to the problems.
func (b *builder) finish() error {
	b.config.derive()
	return errors.Join(append(b.problems, b.config.check(b.unread)...)...)
}

func defaults() Layer {
	layer := Layer{Rank: Default}
	for _, k := range Keys() {
		if k.Default != "" {
			layer.Settings = append(layer.Settings, Setting{Key: k.Name, Texts: []string{k.Default}})
		}
	}
	return layer
}

type builder struct {
	keys     map[string]Key
	config   *Config
	problems []error
	unread   map[string]bool // keys with a problem, which check skips
}

// merge fills the values, from the highest layer down.
func (b *builder) merge(layers []Layer) {
	slices.SortStableFunc(layers, func(x, y Layer) int { return cmp.Compare(y.Rank, x.Rank) })
	for _, layer := range layers {
		for _, s := range layer.Settings {
			k, known := b.keys[s.Key]
			switch {
			case !known:
				b.problems = append(b.problems, unknown(s))
			case !k.Kind.accepts(s.Shape):
				b.unread[k.Name] = true
				b.problems = append(b.problems, subjected(bad("", "must be %s", k.Kind), s.Key, s.Origin))
			default:
				b.add(k, s)
			}
		}
	}
}

func (b *builder) add(k Key, s Setting) {
	v, set := b.config.values[k.Name]
	v.Key = k.Name
	if !k.Kind.MultiValued() && set {
		return
	}
	for _, text := range s.Texts {
		if !slices.Contains(v.Texts, text) {
			v.Texts, v.Origins = append(v.Texts, text), append(v.Origins, s.Origin)
		}
	}
	b.config.values[k.Name] = v
}

// read parses each text with its key. An empty scalar means "not set", which is only valid for keys
// without a default.
func (b *builder) read() {
	for _, k := range Keys() {
		v := b.config.values[k.Name]
		for i, text := range v.Texts {
			var err error
			switch {
			case text != "" || k.Kind.MultiValued():
				err = k.set(b.config, text)
			case k.Default != "" || k.Kind != String:
				err = bad("remove it", "is empty")
			}
			if err != nil {
				b.unread[k.Name] = true
				b.problems = append(b.problems, subjected(err, k.Name, v.Origins[i]))
			}
		}
	}
}

func unknown(s Setting) error {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	if IsGroup(s.Key) {
		return subjected(bad("", "must be an object with the members %s", members(s.Key)), s.Key, s.Origin)
	}
	if why, known := unsupportedKeys()[s.Key]; known {
		return subjected(bad(why, "Docker key is not supported"), s.Key, s.Origin)
	}
	if near, ok := Suggest(s.Key, append(names, "services", "log-opts")); ok {
		return subjected(bad("did you mean "+near+"?", "unknown key"), s.Key, s.Origin)
	}
	return subjected(bad("the keys are "+strings.Join(names, ", "), "unknown key"), s.Key, s.Origin)
}

// members returns the names of the keys in a group: "a, b and c".
func members(group string) string {
	var out []string
	for _, k := range Keys() {
		if name, ok := strings.CutPrefix(k.Name, group+"."); ok {
			out = append(out, name)
		}
	}
	last := len(out) - 1
	return strings.Join(out[:last], ", ") + " and " + out[last]
}

// subjected adds the key and its origin to a fault.
func subjected(err error, key string, at Origin) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return err
	}
	named := *f
	named.Subject, named.Field = where(key, at), key
	return &named
}

func where(key string, at Origin) string { return key + " (" + at.String() + ")" }
