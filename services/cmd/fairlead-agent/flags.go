package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/agent/config"
)

// text is the value of a flag whose key reads it later, with those of the other layers.
type text struct {
	kind  config.Kind
	given []string
}

// String is the default that help shows.
func (t *text) String() string { return strings.Join(t.given, ",") }

// Set takes one more value; of a scalar's, the last counts.
func (t *text) Set(s string) error {
	if !t.kind.MultiValued() {
		t.given = nil
	}
	t.given = append(t.given, s)
	return nil
}

// Type is what help writes behind the flag.
func (t *text) Type() string {
	return map[config.Kind]string{config.String: "string", config.Number: "int", config.Bool: "bool", config.List: "list", config.Pools: "pool", config.Options: "option"}[t.kind]
}

// addKeys makes a flag for every key that has one.
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

// fromFlags makes a layer of the flags that were given.
func fromFlags(flags *pflag.FlagSet) config.Layer {
	layer := config.Layer{Rank: config.Flag}
	for _, k := range config.Keys() {
		f := flags.Lookup(k.Flag)
		if f == nil || !f.Changed {
			continue
		}
		if t, ok := f.Value.(*text); ok {
			layer.Settings = append(layer.Settings, config.Setting{Key: k.Name, Texts: t.given, Origin: config.Origin{Rank: config.Flag, Name: "--" + k.Flag}})
		}
	}
	return layer
}
