package builddoc_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/builddoc"
)

func request(query url.Values) *httpapi.Request {
	return &httpapi.Request{Request: httptest.NewRequest(http.MethodPost, "/build?"+query.Encode(), nil)}
}

func TestOptions(t *testing.T) {
	got, err := builddoc.OptionsOf(request(url.Values{"t": {"app:1", "example.com/app", ""},
		"dockerfile": {"x/Dockerfile"},
		"target":     {"first"}, "nocache": {"1"}, "pull": {"1"}, "buildargs": {`{"A":"b","FROM_ENV":null}`},
		"labels": {`{"k":"v"}`}, "cachefrom": {`["a","b"]`}, "networkmode": {"host"}, "shmsize": {"1048576"},
		"extrahosts": {"db:10.0.0.1", "six:[fd00::1]"}, "ulimits": {`[{"Name":"nofile","Soft":1,"Hard":2}]`},
		"platform": {"linux/arm64"}, "buildid": {"b1"}, "version": {"1"}, "memory": {"9"}}))
	want := builddoc.Options{ID: "b1", HostNetwork: true,
		Tags: []string{"docker.io/library/app:1", "example.com/app:latest"},
		Attrs: map[string]string{"filename": "x/Dockerfile", "target": "first", "no-cache": "",
			"image-resolve-mode": "pull", "build-arg:A": "b", "label:k": "v", "cache-from": "a,b",
			"force-network-mode": "host", "shm-size": "1048576", "add-hosts": "db=10.0.0.1,six=fd00::1",
			"ulimit": "nofile=1:2", "platform": "linux/arm64"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestWhereTheFilesAre(t *testing.T) {
	for remote, want := range map[string]builddoc.Options{
		"":               {Attrs: map[string]string{}, Trace: true},
		"client-session": {Attrs: map[string]string{}, Trace: true, Session: "s1"},
		"https://example.com/app.git": {Remote: "https://example.com/app.git", Trace: true,
			Attrs: map[string]string{"context": "https://example.com/app.git"}},
	} {
		got, err := builddoc.OptionsOf(request(url.Values{"remote": {remote}, "session": {"s1"}, "version": {"2"}}))
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %s %v", remote, d, err)
		}
	}
}

func TestRejectedOptions(t *testing.T) {
	for _, q := range []url.Values{{"t": {"No Name"}}, {"t": {"a@sha256:" + string(make([]byte, 64))}},
		{"squash": {"1"}}, {"networkmode": {"back"}}, {"buildargs": {"[]"}}, {"labels": {"x"}}, {"cachefrom": {"x"}},
		{"ulimits": {"{}"}}, {"extrahosts": {"db"}}, {"extrahosts": {"db:host"}}, {"version": {"3"}},
		{"securityopt": {"x"}}} {
		if _, err := builddoc.OptionsOf(request(q)); err == nil {
			t.Errorf("%v: got no error", q)
		}
	}
}
