package image_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": "no"}}})
	}
}

func TestRegistryErrorsBecomeFaults(t *testing.T) {
	for _, tc := range []struct {
		what  string
		spoil http.HandlerFunc
		kind  fault.Kind
		says  string
	}{
		{"no such tag", nil, fault.NotFound, "manifest unknown"},
		{"no such repository", refuse(404, "NAME_UNKNOWN"), fault.NotFound, "repository unknown"},
		{"no", refuse(403, "DENIED"), fault.Denied, "pull access denied"},
		{"who are you", refuse(401, "UNAUTHORIZED"), fault.Denied, "pull access denied"},
		{"too often", refuse(429, "TOOMANYREQUESTS"), fault.Exhausted, "429"},
		{"broken", refuse(500, "UNKNOWN"), fault.Unavailable, "failed"},
		{"not a registry", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") },
			fault.Unavailable, "is not valid"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			r, h := newReg(t), newHost(t)
			r.push("app", imageOf(t, manyFiles(t, "a", 1)))
			r.spoilWith(tc.spoil)
			ref := r.host + "/app:other"
			_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref})
			if !fault.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), `image "`+ref+`": `) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v; want a fault of kind %d about the image with %q", err, tc.kind, tc.says)
			}
			if fault.ReasonOf(err) != "" {
				t.Errorf("got reason %s, want none: it is only for local images", fault.ReasonOf(err))
			}

			h.mustBeEmpty()
		})
	}
}

func TestUnreachableRegistryIsReported(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = newHost(t).Pull(context.Background(), image.PullRequest{Reference: addr + "/app"})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "registry "+addr+" cannot be reached") {
		t.Errorf("got %v, want an Unavailable fault with the registry", err)
	}
}

func TestPullRejectsInvalidReference(t *testing.T) {
	h := newHost(t)
	for _, bad := range []string{"", "Nginx", "nginx:", "nginx:a b", "a//b", "nginx@sha256:12",
		strings.Repeat("a", 64), "-x", "http://x/y"} {
		if _, err := h.Pull(context.Background(), image.PullRequest{Reference: bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("Pull(%q): got %v, want an Invalid fault", bad, err)
		}
	}
	if _, err := h.Pull(context.Background(), image.PullRequest{Reference: "127.0.0.1:1/x",
		Platform: "beos"}); err == nil {
		t.Error("pull with an invalid platform succeeded")
	}
}

func TestPullWithCredentials(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("private/app", imageOf(t, manyFiles(t, "a", 1)))
	r.spoilWith(func(w http.ResponseWriter, req *http.Request) {
		if u, p, ok := req.BasicAuth(); !ok || u != "me" || p != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			refuse(401, "UNAUTHORIZED")(w, req)
			return
		}
		r.pass.ServeHTTP(w, req)
	})
	for _, wrong := range []image.PullRequest{{}, {Username: "me", Password: "no"}} {
		wrong.Reference = ref
		if _, err := h.Pull(context.Background(), wrong); !fault.Is(err, fault.Denied) {
			t.Errorf("with %q: got %v, want a Denied fault", wrong.Password, err)
		}
	}

	if _, err := h.Pull(context.Background(), image.PullRequest{Reference: ref, Username: "me",
		Password: "secret"}); err != nil {
		t.Error(err)
	}
}

func TestMirrorsAreTriedInOrder(t *testing.T) {
	closed, empty, full, never := newReg(t), newReg(t), newReg(t), newReg(t)
	closed.spoilWith(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			t.Error("a mirror received the credentials")
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		refuse(401, "UNAUTHORIZED")(w, req)
	})
	never.spoilWith(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("got a request for %s", req.URL) })
	full.push("library/nginx:1.27", imageOf(t, manyFiles(t, "a", 1)))
	h := newHost(t, func(c *image.Config) {
		c.Mirrors = []string{closed.server.URL, empty.server.URL + "/", full.server.URL, never.server.URL}
	})
	img, err := h.Pull(context.Background(), image.PullRequest{Reference: "nginx:1.27", Username: "me",
		Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(img.Tags, []string{"docker.io/library/nginx:1.27"}) {
		t.Errorf("got tags %v", img.Tags)
	}

	if got, err := h.Get("nginx:1.27"); err != nil || got.ID != img.ID {
		t.Errorf("Get(nginx:1.27): got %v, %v", got, err)
	}
}

func TestMirrorsAreReloaded(t *testing.T) {
	r, h := newReg(t), newHost(t)
	r.push("library/app:1", imageOf(t, manyFiles(t, "a", 1)))
	if err := h.UseRegistries([]string{r.server.URL}, nil); err != nil {
		t.Fatal(err)
	}
	if err := h.UseRegistries([]string{"no URL"}, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an Invalid fault", err)
	}
	h.pull("app:1") // from the previous mirror
}

func TestMirrorWithoutLayerIsSkipped(t *testing.T) {
	lossy, full := newReg(t), newReg(t)
	kept, lost := manyFiles(t, "a", 1), manyFiles(t, "b", 1)
	for _, r := range []*reg{lossy, full} {
		r.push("library/app:1", imageOf(t, kept, lost))
	}
	lossy.onBlob(digestOf(t, lost), refuse(404, "BLOB_UNKNOWN"))
	h := newHost(t, func(c *image.Config) { c.Mirrors = []string{lossy.server.URL, full.server.URL} })
	h.pull("app:1")
	h.mustHaveLayers(2)
}

func TestPlainHTTPNeedsInsecureRegistry(t *testing.T) {
	for _, bad := range []struct{ mirror, insecure string }{
		{mirror: "mirror.example"}, {mirror: "https://m.example/path"}, {mirror: "ftp://m.example"},
		{mirror: "https://u@m.example"},
		{insecure: "http://r.example"}, {insecure: "a b"}, {insecure: "r.example/x"},
	} {
		cfg := image.Config{Root: t.TempDir()}
		if bad.mirror != "" {
			cfg.Mirrors = []string{bad.mirror}
		} else {
			cfg.InsecureRegistries = []string{bad.insecure}
		}
		if _, err := image.Open(context.Background(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want an Invalid fault", bad, err)
		}
	}
}

func TestPullRejectsOtherArtifacts(t *testing.T) {
	r, h := newReg(t), newHost(t)
	chart := mutate.ConfigMediaType(imageOf(t, manyFiles(t, "a", 1)), "application/vnd.cncf.helm.config.v1+json")
	ref := r.push("chart", chart)
	if _, err := h.Pull(context.Background(), image.PullRequest{Reference: ref}); !fault.Is(err, fault.Invalid) ||
		!strings.Contains(err.Error(), "helm") {
		t.Errorf("got %v; want an Invalid fault with the type", err)
	}
}

func TestUntrustedCertificateOnLoopback(t *testing.T) {
	r, h := newReg(t), newHost(t)
	r.push("app", imageOf(t, manyFiles(t, "a", 1)))
	tls := httptest.NewTLSServer(r.pass)
	t.Cleanup(tls.Close)
	h.pull(strings.TrimPrefix(tls.URL, "https://") + "/app")
}
