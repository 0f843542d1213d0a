// Package policyfile reads files with policies, in YAML or JSON. It reports all errors of a file together,
// each with its line and key. Package policy of the command line calls it.
//
// It performs no I/O. What rules mean belongs to package proto/egress; the agent validates again.
package policyfile

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fairlead/fairlead/agent/config"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Schema is the JSON schema of files with policies.
//
//go:embed schema.json
var Schema string

// Keys of a policy and of a test.
var (
	fileKeys   = []string{"policies"}
	policyKeys = []string{"name", "containers", "networks", "labels", "egress", "ingress", "tests"}
	testKeys   = []string{"container", "may-reach", "may-not-reach", "may-be-reached-by", "may-not-be-reached-by"}
)

// File is the content of a file. The name is for errors.
type File struct {
	Name string
	Data []byte
}

// reader collects the policies and the errors of files.
type reader struct {
	name   string // of the present file
	faults []positioned
	all    []*containerv1.NamedPolicy
	first  map[string]string // the positions of policies, by name
}

// positioned is an error with its line, 0 without one.
type positioned struct {
	line int
	error
}

// syntax returns the error of text that is not valid YAML. In YAML "*" at the start of a text names an anchor.
func syntax(name string, err error) positioned {
	text, hint := strings.TrimPrefix(err.Error(), "yaml: "), ""
	if strings.Contains(text, "anchor") {
		hint = quoteHint
	}
	return positioned{0, fmt.Errorf("%s: %s%s", name, text, hint)}
}

// quoteHint says how to write what YAML reads otherwise.
const quoteHint = `, write rules that begin with * or ! in quotes: "*.example.com"`

// Parse reads the policies of files. Each can have several YAML documents.
func Parse(files ...File) ([]*containerv1.NamedPolicy, error) {
	r := &reader{first: map[string]string{}}
	for _, f := range files {
		r.name = f.Name
		r.file(f.Data)
	}
	var faults []error
	for _, f := range r.faults {
		faults = append(faults, f.error)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return r.all, nil
}

// file reads all documents of a file.
func (r *reader) file(data []byte) {
	before, faults := len(r.all), len(r.faults)
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.faults = append(r.faults, syntax(r.name, err))
			return
		}
		r.document(&document)
	}
	slices.SortStableFunc(r.faults[faults:], func(a, b positioned) int { return a.line - b.line })
	if len(r.all) == before && len(r.faults) == faults {
		r.faults = append(r.faults, positioned{0, fmt.Errorf("%s: is empty, must have the key policies", r.name)})
	}
}

// document reads a document. One without content is skipped.
func (r *reader) document(d *yaml.Node) {
	if len(d.Content) == 0 || d.Content[0].Tag == "!!null" {
		return
	}
	root, before, faults := d.Content[0], len(r.all), len(r.faults)
	r.object(root, "file", fileKeys, func(_ string, value *yaml.Node) {
		for _, one := range r.list(value, "policies") {
			r.all = append(r.all, r.policy(one))
		}
	})
	if len(r.all) == before && len(r.faults) == faults {
		r.add(root, "policies", "has no policy")
	}
}

func (r *reader) add(at *yaml.Node, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.faults = append(r.faults, positioned{at.Line, fmt.Errorf("%s:%d: %s: %s", r.name, at.Line, key, text)})
}

// object calls set for each known key of a mapping.
func (r *reader) object(n *yaml.Node, what string, keys []string, set func(key string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.add(n, what, "must have keys, of %s", strings.Join(keys, ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case seen[key.Value]:
			r.add(key, key.Value, "is given twice")
		case slices.Contains(keys, key.Value):
			set(key.Value, value)
		default:
			r.add(key, key.Value, "unknown key%s", hint(key.Value, keys))
		}
		seen[key.Value] = true
	}
}

// hint returns a question for the nearest known word.
func hint(word string, known []string) string {
	near, ok := config.Suggest(word, known)
	switch {
	case slices.Equal(known, fileKeys):
		return ", did you mean policies? It has the list of all policies"
	case !ok:
		return ", must be one of " + strings.Join(known, ", ")
	}
	return ", did you mean " + near + "?"
}

// list returns the elements of a sequence.
func (r *reader) list(n *yaml.Node, key string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.add(n, key, "must be a list")
		return nil
	}
	return n.Content
}

// text returns a string. Other values of YAML, such as 12, true and null, are errors, as in JSON; and a tag,
// which "!lan" is without quotes.
func (r *reader) text(n *yaml.Node, key string) string {
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.AliasNode, tag != "" && !strings.HasPrefix(tag, "!!"):
		r.add(n, key, "must be a text%s", quoteHint)
	case n.Kind != yaml.ScalarNode, n.Value == "":
		r.add(n, key, "must be a text")
	case tag != "!!str":
		r.add(n, key, "must be a text, write %q in quotes", n.Value)
	default:
		return n.Value
	}
	return ""
}

// texts returns a list of strings, or one string.
func (r *reader) texts(n *yaml.Node, key string, check func(string) error) (all []string) {
	nodes := []*yaml.Node{n}
	if n.Kind != yaml.ScalarNode && n.Kind != yaml.AliasNode {
		if nodes = r.list(n, key); n.Kind == yaml.SequenceNode && len(nodes) == 0 {
			r.add(n, key, "is an empty list")
		}
	}
	for _, one := range nodes {
		text := r.text(one, key)
		if text == "" {
			continue
		}
		if err := check(text); err != nil {
			r.add(one, key, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		all = append(all, text)
	}
	return all
}
