package command

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/agent/config"
)

// text is the value of a flag. It is parsed later by its key, with the values of the other layers.
type text struct {
	kind  config.Kind
	given []string
}

// String returns the value for the help text.
func (t *text) String() string { return strings.Join(t.given, ",") }

// Set adds a value. The last value of a scalar is used.
func (t *text) Set(s string) error {
	if !t.kind.MultiValued() {
		t.given = nil
	}
	t.given = append(t.given, s)
	return nil
}

// Type returns the value type for the help text.
func (t *text) Type() string {
	return map[config.Kind]string{config.String: "string", config.Number: "int", config.Bool: "bool",
		config.List: "list", config.Pools: "pool", config.Options: "option",
		config.Ulimits: "ulimit", config.Runtimes: "runtime", config.Lines: "text"}[t.kind]
}

// addKeys adds a flag for every key that has one.
func addKeys(flags *pflag.FlagSet) {
	for _, k := range config.Keys() {
		if k.Flag == "" {
			continue
		}
		f := flags.VarPF(&text{kind: k.Kind}, k.Flag, k.Short, usage(k))
		if k.Kind == config.Bool {
			f.NoOptDefVal = "true"
		}
	}
}

func usage(k config.Key) string {
	if k.Default == "" {
		return k.Usage
	}
	return k.Usage + " (default " + k.Default + ")"
}

// fromFlags returns a layer with the flags that were set.
func fromFlags(flags *pflag.FlagSet) config.Layer {
	layer := config.Layer{Rank: config.Flag}
	for _, k := range config.Keys() {
		f := flags.Lookup(k.Flag)
		if f == nil || !f.Changed {
			continue
		}
		if t, ok := f.Value.(*text); ok {
			layer.Settings = append(layer.Settings,
				config.Setting{Key: k.Name, Texts: t.given,
					Origin: config.Origin{Rank: config.Flag, Name: "--" + k.Flag}})
		}
	}
	return layer
}
