// Package policyfile reads files with policies, in YAML or JSON. It reports all errors of a file together,
// each with its line and key. Package policy of the command line calls it.
//
// It performs no I/O. What rules mean belongs to package proto/egress; the agent validates again.
package policyfile

import (
	_ "embed"
	"errors"
	"fmt"
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

// reader collects the errors of a file.
type reader struct {
	name   string
	faults []error
}

// Parse reads the policies of a file. name is for errors.
func Parse(name string, data []byte) ([]*containerv1.NamedPolicy, error) {
	r := &reader{name: name}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("%s: is empty, must have the key policies", name)
	}

	var all []*containerv1.NamedPolicy
	root := document.Content[0]
	r.object(root, "file", fileKeys, func(_ string, value *yaml.Node) {
		for _, one := range r.list(value, "policies") {
			all = append(all, r.policy(one, all))
		}
	})
	if len(all) == 0 && len(r.faults) == 0 {
		r.add(root, "policies", "has no policy")
	}
	if err := errors.Join(r.faults...); err != nil {
		return nil, err
	}
	return all, nil
}

func (r *reader) add(at *yaml.Node, key, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s:%d: %s: %s", r.name, at.Line, key, fmt.Sprintf(format, args...)))
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
	if !ok {
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

// text returns a string.
func (r *reader) text(n *yaml.Node, key string) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		r.add(n, key, "must be a text")
		return ""
	}
	return n.Value
}

// texts returns a list of strings, or one string.
func (r *reader) texts(n *yaml.Node, key string, check func(string) error) (all []string) {
	nodes := []*yaml.Node{n}
	if n.Kind != yaml.ScalarNode {
		nodes = r.list(n, key)
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
