// Package apitest has the harness of the engine's tests: golden files of translations, and validation of
// documents with Docker's specification of the API.
package apitest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write golden files")

// Golden compares a document with the file testdata/NAME.golden.json. It is a protobuf message or what
// encoding/json accepts. The flag -update writes the file.
func Golden(t *testing.T, name string, document any) {
	t.Helper()
	got := Text(t, document)
	path := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Text returns a document as indented JSON.
func Text(t *testing.T, document any) []byte {
	t.Helper()
	var text []byte
	var err error
	if m, ok := document.(proto.Message); ok {
		text, err = protojson.Marshal(m)
	} else {
		text, err = json.Marshal(document)
	}
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(indented.Bytes(), '\n')
}

// Read returns the content of a file in testdata.
func Read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ReadMessage parses a message in testdata.
func ReadMessage(t *testing.T, name string, into proto.Message) {
	t.Helper()
	if err := protojson.Unmarshal(Read(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// Validate checks a document with the schema of an operation's response: "GET /containers/json", 200.
func Validate(t *testing.T, operation string, status int, document any) {
	t.Helper()
	schema := responseSchema(t, operation, status)
	var value any
	if err := json.Unmarshal(Text(t, document), &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.VisitJSON(withoutNulls(value), openapi3.MultiErrors()); err != nil {
		t.Errorf("%s %d: %v", operation, status, err)
	}
}

// withoutNulls removes null from a document. Docker writes it for empty lists and objects, against its own
// specification.
func withoutNulls(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if inner == nil {
				delete(v, key)
				continue
			}
			v[key] = withoutNulls(inner)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return value
}

func responseSchema(t *testing.T, operation string, status int) *openapi3.Schema {
	t.Helper()
	spec, err := specification()
	if err != nil {
		t.Fatal(err)
	}
	method, path, _ := strings.Cut(operation, " ")
	item := spec.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		t.Fatalf("the specification has no operation %s", operation)
	}
	response := item.GetOperation(method).Responses.Status(status)
	if response == nil {
		t.Fatalf("the specification has no response %d of %s", status, operation)
	}
	for _, content := range response.Value.Content {
		return content.Schema.Value
	}
	t.Fatalf("the specification has no document for %d of %s", status, operation)
	return nil
}

// specification returns Docker's specification of the newest version.
var specification = sync.OnceValues(func() (*openapi3.T, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/moby/api").Output()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "swagger.yaml"))
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	var old openapi2.T
	if err := json.Unmarshal(asJSON, &old); err != nil {
		return nil, err
	}
	return openapi2conv.ToV3(&old)
})
