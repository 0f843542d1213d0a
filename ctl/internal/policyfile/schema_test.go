package policyfile

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// schema is a JSON schema with the keywords that Schema has.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	AdditionalProperties *bool
	Required             []string
	Properties           map[string]schema
	Items                *schema
	MinItems, MinLength  int
	Pattern              string
	AllOf, AnyOf, OneOf  []schema
	Defs                 map[string]schema `json:"$defs"`

	Draft       string `json:"$schema"`
	Title       string
	Description string
}

// accepts reports whether a value is valid. root has the definitions.
func (s schema) accepts(root schema, v any) bool {
	if s.Ref != "" {
		return root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].accepts(root, v)
	}
	count := func(all []schema) (n int) {
		for _, one := range all {
			if one.accepts(root, v) {
				n++
			}
		}
		return n
	}
	if count(s.AllOf) < len(s.AllOf) || len(s.AnyOf) > 0 && count(s.AnyOf) == 0 ||
		len(s.OneOf) > 0 && count(s.OneOf) != 1 {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		return (s.Type == "object" || s.Type == "") && s.acceptsObject(root, v)
	case []any:
		for _, one := range v {
			if s.Items != nil && !s.Items.accepts(root, one) {
				return false
			}
		}
		return (s.Type == "array" || s.Type == "") && len(v) >= s.MinItems
	case string:
		return (s.Type == "string" || s.Type == "") && len(v) >= s.MinLength &&
			regexp.MustCompile(s.Pattern).MatchString(v)
	}
	return s.Type == "" && len(s.OneOf) == 0
}

func (s schema) acceptsObject(root schema, v map[string]any) bool {
	for _, key := range s.Required {
		if _, ok := v[key]; !ok {
			return false
		}
	}
	for key, value := range v {
		one, known := s.Properties[key]
		if !known && s.AdditionalProperties != nil || known && !one.accepts(root, value) {
			return false
		}
	}
	return true
}

// TestSchemaAndParserAgree checks that the published schema accepts the files that Parse accepts. Only what rules
// mean, and that names are different, is beyond it.
func TestSchemaAndParserAgree(t *testing.T) {
	var root schema
	known := json.NewDecoder(strings.NewReader(Schema))
	known.DisallowUnknownFields() // a keyword that this test does not check
	if err := known.Decode(&root); err != nil {
		t.Fatal(err)
	}
	policy := func(keys string) string { return "policies: [{name: pp, containers: x, egress: lan, " + keys + "}]" }
	for text, want := range map[string]bool{
		example:                                           true,
		policy("ingress: [lan]"):                          true,
		policy("networks: [a, b]"):                        true,
		policy("tests: []"):                               true,
		policy("egres: lan"):                              false,
		policy("labels: []"):                              false,
		policy("labels: {a: b}"):                          false,
		policy("labels: [a=b, 1]"):                        false,
		policy("labels: null"):                            false,
		policy("labels: true"):                            false,
		policy("labels: [[a]]"):                           false,
		policy(`ingress: ""`):                             false,
		policy(`ingress: ["", lan]`):                      false,
		policy("tests: [{container: x}]"):                 false,
		policy("tests: [{may-reach: lan}]"):               false,
		policy("tests: [{container: x, may-reach: lan}]"): true,
		policy("tests: [{container: x, may-not-be-reached-by: [lan, host]}]"):  true,
		policy("tests: [{container: x, may-reach: lan, Container: y}]"):        false,
		policy("tests: [{container: [x], may-reach: lan}]"):                    false,
		policy("tests: {container: x, may-reach: lan}"):                        false,
		policy("tests: [text]"):                                                false,
		"policies: []":                                                         false,
		"policies: {name: pp}":                                                 false,
		"policies: null":                                                       false,
		"policy: []":                                                           false,
		"[]":                                                                   false,
		"text":                                                                 false,
		"policies: [text]":                                                     false,
		"policies: [{name: pp, egress: lan}]":                                  false,
		"policies: [{name: pp, containers: x}]":                                false,
		"policies: [{containers: x, egress: lan}]":                             false,
		"policies: [{name: p, containers: x, egress: lan}]":                    false,
		"policies: [{name: 12, containers: x, egress: lan}]":                   false,
		`policies: [{name: "12", containers: x, egress: lan}]`:                 true,
		"policies: [{name: -p, containers: x, egress: lan}]":                   false,
		"policies: [{name: pp, containers: x, egress: 12}]":                    false,
		"policies: [{name: pp, containers: x, egress: ~}]":                     false,
		`{"policies": [{"name": "pp", "labels": ["a=b"], "ingress": "none"}]}`: true,
		`{"policies": [{"name": "pp", "labels": ["a=b"], "ingress": 1.5}]}`:    false,
		`{"policies": [{"name": "pp", "labels": "a"}], "x": 1}`:                false,
	} {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := root.accepts(root, v); got != want {
			t.Errorf("schema, %s: got %v, want %v", text, got, want)
		}
		if _, err := parse("a.yaml", text); (err == nil) != want {
			t.Errorf("Parse, %s: got %v, want accepted: %v", text, err, want)
		}
	}
}

// TestTextsOfYAML checks that YAML with another meaning than a rule seems to have is refused, with a hint.
func TestTextsOfYAML(t *testing.T) {
	const quotes = "in quotes"
	for list, want := range map[string]string{
		"[internet, !lan internet]":   "a.yaml:1: egress: must be a text, write rules that begin with * or ! " + quotes,
		"[internet, !10.0.0.0/8 ]":    "a.yaml:1: egress: must be a text, write rules that begin with * or ! " + quotes,
		"!lan":                        "a.yaml:1: egress: must be a text, write rules that begin with * or ! " + quotes,
		"[&a lan, *a]":                "a.yaml:1: egress: must be a text, write rules that begin with * or ! " + quotes,
		"[lan, 12]":                   `a.yaml:1: egress: must be a text, write "12" ` + quotes,
		"[lan, null]":                 `a.yaml:1: egress: must be a text, write "null" ` + quotes,
		"[none, lan]":                 `a.yaml:1: egress: "none" allows nothing, so it cannot be combined`,
		`["!10.0.0.0/8", "internet"]`: "",
	} {
		_, err := parse("a.yaml", "policies: [{name: pp, containers: x, egress: "+list+"}]")
		if err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", list, err, want)
		}
	}
	for keys, want := range map[string]string{
		"containers: '['": "is not a pattern",
		"containers: x, tests: [{container: x, may-reach: all}]": "is not one peer",
	} {
		_, err := parse("a.yaml", "policies: [{name: pp, egress: lan, "+keys+"}]")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", keys, err, want)
		}
	}
}
