package config

import (
	"fmt"
	"strings"
)

// Rank is the precedence of a layer. A higher rank overrides a lower one.
type Rank int

// The ranks, lowest first.
const (
	Default Rank = iota
	File
	Environment
	Flag
)

// Origin is the source of a value.
type Origin struct {
	Rank Rank
	Name string // the file's path, the variable or the flag
	Line int    // in a file
}

// String formats the origin: "/etc/fairlead/daemon.json:4", "environment FAIRLEAD_BIP", "flag
// --bip" or "default".
func (o Origin) String() string {
	switch o.Rank {
	case File:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case Environment:
		return "environment " + o.Name
	case Flag:
		return "flag " + o.Name
	}
	return "default"
}

// Shape is the syntactic form of a value.
type Shape int

// The shapes. Text from a flag or the environment is valid for every key. In a file the shape must
// match the kind of the key.
const (
	Words Shape = iota // from a flag or the environment
	Text
	Numeral
	Truth
	Array   // of strings
	Objects // an array of flat objects, each as text: base=10.0.0.0/8,size=24
	Nested  // an object of flat objects, each member as text: bridge=com.docker.network.driver.mtu=1400
	Other   // null, or another object or array
)

// Setting is one key with its values in one layer.
type Setting struct {
	Key    string
	Shape  Shape
	Texts  []string
	Origin Origin
}

// Layer holds the settings of one source. Build accepts layers in any order.
type Layer struct {
	Rank     Rank
	Settings []Setting
}

// FromEnvironment returns the settings in an environment. Variables are named FAIRLEAD_ and the key
// in capitals; lists are separated by commas, pools and options by spaces, records and forwards by
// newlines. Empty variables are ignored. The warnings name variables that look misspelled.
func FromEnvironment(environ []string) (Layer, []string) {
	byVariable, names := map[string]Key{}, []string{}
	for _, k := range Keys() {
		byVariable[k.EnvName()] = k
		names = append(names, k.EnvName())
	}
	layer, warnings := Layer{Rank: Environment}, []string(nil)
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		k, known := byVariable[name]
		switch {
		case known && text == "":
		case known:
			layer.Settings = append(layer.Settings,
				Setting{Key: k.Name, Texts: k.split(text), Origin: Origin{Rank: Environment, Name: name}})
		case strings.HasPrefix(name, prefix) && !isClients(name):
			if near, ok := Suggest(name, names); ok {
				warnings = append(warnings, fmt.Sprintf("environment %s: unknown variable; did you mean %s?", name,
					near))
			}
		}
	}
	return layer, warnings
}

const prefix = "FAIRLEAD_"

// isClients reports whether a variable belongs to the command-line client.
func isClients(name string) bool {
	return name == "FAIRLEAD_HOST" || name == "FAIRLEAD_TLS_VERIFY" || name == "FAIRLEAD_CERT_PATH"
}

func (k Key) split(text string) []string {
	separator := ","
	switch k.Kind {
	case Pools, Options, Ulimits, Runtimes:
		return strings.Fields(text)
	case String, Number, Bool:
		return []string{text}
	case Lines:
		separator = "\n"
	case List:
	}
	var all []string
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
