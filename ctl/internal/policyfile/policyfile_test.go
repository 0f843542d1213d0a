package policyfile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

const example = `policies:
  - name: web
    containers: [web-*]
    labels: tier=front
    egress:
      - github.com:443
      - internet,!all:25
    ingress: [lan:80]
    tests:
      - container: web-1
        may-reach: [github.com:443]
        may-not-reach: 10.0.0.1:22
        may-be-reached-by: container:proxy:80
  - {name: db, networks: [back], egress: none}
`

func parse(name, text string) ([]*containerv1.NamedPolicy, error) {
	return Parse(File{name, []byte(text)})
}

func TestParse(t *testing.T) {
	all, err := parse("a.yaml", example)
	if err != nil || len(all) != 2 {
		t.Fatalf("got %v, %v", all, err)
	}
	web := all[0]
	if web.GetName() != "web" || !slices.Equal(web.GetEgress(), []string{"github.com:443", "internet,!all:25"}) ||
		!slices.Equal(web.GetLabels(), []string{"tier=front"}) || len(web.GetTests()) != 3 {
		t.Errorf("got %v", web)
	}
	if last := web.GetTests()[2]; last.GetContainer() != "web-1" || !last.GetIncoming() || !last.GetAllowed() ||
		web.GetTests()[1].GetAllowed() {
		t.Errorf("got %v", web.GetTests())
	}
	text, err := Format(all)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parse("again", text); err != nil || len(again) != 2 || !proto.Equal(again[0], web) ||
		!proto.Equal(again[1], all[1]) {
		t.Errorf("got %v, %v, want %v", again, err, all)
	}
	if all, err := parse("a.json", `{"policies": [{"name": "db", "containers": ["*"],
		"egress": ["none"]}]}`); err != nil || all[0].GetContainers()[0] != "*" {
		t.Errorf("JSON: got %v, %v", all, err)
	}
}

func TestAllErrorsAreReported(t *testing.T) {
	_, err := parse("a.yaml", `polices: []
policies:
  - name: web
    container: [web]
    egress: [intrnet, "a.test:0"]
    ingress: [web]
    labels: {a: b}
    tests:
      - may-reach: "!a.test"
        may-not-rech: x.test
  - name: x
  - egress: none
    egress: all
  - text
  - {name: db, networks: [back], egress: none}
  - {name: db, networks: [back], egress: none}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`a.yaml:1: polices: unknown key, did you mean policies?`,
		`a.yaml:4: container: unknown key, did you mean containers?`,
		`a.yaml:5: egress: rule "intrnet": did you mean internet?`,
		`a.yaml:5: egress: rule "a.test:0": invalid port`,
		`a.yaml:6: ingress: rule "web": sources have no domain names, did you mean container:web?`,
		`a.yaml:7: labels: must be a list`,
		`a.yaml:9: may-reach: "!a.test" is not one peer`,
		`a.yaml:10: may-not-rech: unknown key, did you mean may-not-reach?`,
		`a.yaml:9: container: is missing`,
		`a.yaml:11: containers: is missing`, `a.yaml:11: egress: is missing`,
		`a.yaml:13: egress: is given twice`,
		`a.yaml:14: policy: must have keys`,
		`a.yaml:16: name: db is given twice, first at a.yaml:15`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no error %q in\n%v", want, err)
		}
	}
	for text, want := range map[string]string{"": "is empty", "policies: []": "has no policy", "a: [": "line 2",
		"policies: [{egress: [*.a.test]}]": `write rules that begin with * or ! in quotes`,
		"egress: lan":                      "a.yaml:1: egress: unknown key, did you mean policies?",
		"policies":                         "must have keys", "---\n---\n": "is empty",
		"policies: []\n---\npolicies: []": "a.yaml:3: policies"} {
		if _, err := parse("a.yaml", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// All documents of all files are read together.
func TestAllDocumentsAreRead(t *testing.T) {
	one := func(name string) string { return "policies: [{name: " + name + ", networks: [back], egress: none}]\n" }
	all, err := Parse(File{"a.yaml", []byte("---\n" + one("aa") + "---\n" + one("bb") + "---\n")},
		File{"b.yaml", []byte(one("cc"))})
	if err != nil || len(all) != 3 || all[1].GetName() != "bb" || all[2].GetName() != "cc" {
		t.Errorf("got %v, %v", all, err)
	}

	_, err = Parse(File{"a.yaml", []byte(one("aa") + "---\n" + one("aa"))}, File{"b.yaml", []byte(one("aa"))},
		File{"c.yaml", []byte("policies: [{name: cc, egress: intrnet}]")}, File{"d.yaml", nil})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"a.yaml:3: name: aa is given twice, first at a.yaml:1",
		"b.yaml:1: name: aa is given twice, first at a.yaml:1", `c.yaml:1: egress: rule "intrnet"`,
		"d.yaml: is empty"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no error %q in\n%v", want, err)
		}
	}
}

// TestSchemaHasTheKeys checks that the published schema has the keys that Parse accepts.
func TestSchemaHasTheKeys(t *testing.T) {
	type object struct {
		Properties map[string]any
		Defs       map[string]object `json:"$defs"`
	}
	var schema object
	if err := json.Unmarshal([]byte(Schema), &schema); err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][2][]string{
		"file":   {slices.Sorted(maps.Keys(schema.Properties)), fileKeys},
		"policy": {slices.Sorted(maps.Keys(schema.Defs["policy"].Properties)), policyKeys},
		"test":   {slices.Sorted(maps.Keys(schema.Defs["test"].Properties)), testKeys},
	} {
		if want := slices.Sorted(slices.Values(keys[1])); !slices.Equal(keys[0], want) {
			t.Errorf("%s: schema has %q, want %q", name, keys[0], want)
		}
	}
}
