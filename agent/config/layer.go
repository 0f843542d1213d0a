package config

import (
	"fmt"
	"strings"
)

// Rank orders the layers: what a higher one says wins.
type Rank int

// From weakest to strongest.
const (
	Default Rank = iota
	File
	Environment
	Flag
)

// Origin is where a value was written.
type Origin struct {
	Rank Rank
	Name string // the file's path, the variable or the flag
	Line int    // in a file
}

// String is short, for people: "/etc/fairlead/daemon.json:4", "environment FAIRLEAD_BIP", "flag --bip", "default".
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

// Shape is how a value was written.
type Shape int

// The shapes. Text from a flag or the environment fits every key; in a file a shape must fit its key's kind.
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

// Setting is one key as one layer gives it.
type Setting struct {
	Key    string
	Shape  Shape
	Texts  []string
	Origin Origin
}

// Layer is all that one source says. Layers are given to Build in any order.
type Layer struct {
	Rank     Rank
	Settings []Setting
}

// FromEnvironment picks the agent's variables out of an environment: FAIRLEAD_ and the key in capitals, lists separated by
// commas, and pools and options by blanks. Empty ones count as not set. The warnings name variables that look like misspelt ones.
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
			layer.Settings = append(layer.Settings, Setting{Key: k.Name, Texts: k.split(text), Origin: Origin{Rank: Environment, Name: name}})
		case strings.HasPrefix(name, prefix) && !isClients(name):
			if near, ok := Suggest(name, names); ok {
				warnings = append(warnings, fmt.Sprintf("environment %s: means nothing to the agent; did you mean %s?", name, near))
			}
		}
	}
	return layer, warnings
}

const prefix = "FAIRLEAD_"

// isClients tells whether a variable is the command line's, and no misspelt one of the agent's.
func isClients(name string) bool {
	return name == "FAIRLEAD_HOST" || name == "FAIRLEAD_TLS_VERIFY" || name == "FAIRLEAD_CERT_PATH"
}

func (k Key) split(text string) []string {
	switch k.Kind {
	case Pools, Options:
		return strings.Fields(text)
	case String, Number, Bool:
		return []string{text}
	case List:
	}
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
