package builddoc_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/translate/builddoc"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// text returns lines as JSON.
func text(t *testing.T, lines ...imagedoc.Message) string {
	t.Helper()
	var all []string
	for _, l := range lines {
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	return strings.Join(all, "\n")
}

func TestProgress(t *testing.T) {
	var p builddoc.Progress
	var got []imagedoc.Message
	for _, s := range []buildkit.Status{
		{Vertexes: []buildkit.Vertex{{Digest: "a", Name: "[internal] load build definition", Started: true},
			{Digest: "b", Name: "[2/3] RUN x"}, {Digest: "c", Name: "[linux/amd64 first 1/3] FROM y", Started: true}}},
		{Vertexes: []buildkit.Vertex{{Digest: "b", Name: "[2/3] RUN x", Started: true}},
			Logs: []buildkit.Log{{Vertex: "b", Data: []byte("out\n")}, {Vertex: "a", Data: []byte("internal")}}},
		{Vertexes: []buildkit.Vertex{{Digest: "b", Name: "[2/3] RUN x", Started: true, Completed: true, Cached: true}},
			Warnings: []string{"old syntax"}},
	} {
		got = append(got, p.Add(s)...)
	}
	want := `{"stream":"Step 1/3 : FROM y\n"}
{"stream":"Step 2/3 : RUN x\n"}
{"stream":"out\n"}
{"stream":" ---\u003e Using cache\n"}
{"stream":"[Warning] old syntax\n"}`
	if d := cmp.Diff(want, text(t, got...)); d != "" {
		t.Error(d)
	}
}

func TestEndOfABuild(t *testing.T) {
	want := `{"aux":{"ID":"sha256:0123456789abcdef"}}
{"stream":"Successfully built 0123456789ab\n"}
{"stream":"Successfully tagged app:1\n"}`
	if d := cmp.Diff(want, text(t, builddoc.Built("sha256:0123456789abcdef",
		[]string{"docker.io/library/app:1"})...)); d != "" {
		t.Error(d)
	}

	var p builddoc.Progress
	p.Add(buildkit.Status{Vertexes: []buildkit.Vertex{{Digest: "a", Name: "[1/1] RUN x", Started: true,
		Error: `process "/bin/sh -c test \"x\"" did not complete successfully: exit code: 7`}}})
	want = `{"errorDetail":{"code":7,"message":"The command '/bin/sh -c test \"x\"' returned a non-zero code: 7"},` +
		`"error":"The command '/bin/sh -c test \"x\"' returned a non-zero code: 7"}`
	if d := cmp.Diff(want, text(t, p.Failed(errors.New("build: failed")))); d != "" {
		t.Error(d)
	}
	var other builddoc.Progress
	if got := text(t, other.Failed(errors.New("build: no such stage"))); !strings.Contains(got,
		`"error":"no such stage"`) {
		t.Errorf("got %s", got)
	}
}

func TestTrace(t *testing.T) {
	want := `{"id":"moby.buildkit.trace","aux":"AQI="}
{"id":"moby.image.id","aux":{"ID":"sha256:1"}}`
	if d := cmp.Diff(want, text(t, builddoc.Trace(buildkit.Status{Raw: []byte{1, 2}}),
		builddoc.TracedID("sha256:1"))); d != "" {
		t.Error(d)
	}
}
