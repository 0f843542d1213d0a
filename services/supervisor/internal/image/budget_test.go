package image_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

func TestMetadataBudget(t *testing.T) {
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = ""
		}
		return m
	}
	for want, change := range map[string]func(*v1.Config){
		"4097 labels": func(c *v1.Config) { c.Labels = many(4097) },
		"4097 exposed ports": func(c *v1.Config) {
			c.ExposedPorts = map[string]struct{}{}
			for n := range 4097 {
				c.ExposedPorts[fmt.Sprintf("%d/udp", n+1)] = struct{}{}
			}
		},
		"1025 volumes": func(c *v1.Config) {
			c.Volumes = map[string]struct{}{}
			for n := range 1025 {
				c.Volumes[fmt.Sprintf("/%d", n)] = struct{}{}
			}
		},
		"a configuration of ": func(c *v1.Config) { c.Env = []string{"A=" + strings.Repeat("x", 1<<20)} },
	} {
		r, h := newReg(t), newHost(t)
		img := imageOf(t, layerOf(t, entry{name: "f"}))
		cfg, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		cfg = cfg.DeepCopy()
		change(&cfg.Config)
		if img, err = mutate.ConfigFile(img, cfg); err != nil {
			t.Fatal(err)
		}
		_, err = h.Pull(context.Background(), image.PullRequest{Reference: r.push("app", img)})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		h.mustBeEmpty()
	}
}

// TestClaimedConfigSizeIsNotAllocated pulls from a registry that claims a configuration of 1 TiB.
func TestClaimedConfigSizeIsNotAllocated(t *testing.T) {
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":` +
		`"application/vnd.oci.image.config.v1+json","size":1099511627776,"digest":"sha256:%064d"},"layers":[]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			fmt.Fprintf(w, manifest, 0)
		default:
			t.Errorf("got a request for %s", r.URL.Path)
		}
	}))
	defer srv.Close()
	h := newHost(t)
	_, err := h.Pull(context.Background(), image.PullRequest{Reference: strings.TrimPrefix(srv.URL,
		"http://") + "/app"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "configuration of 1099511627776 bytes") {
		t.Errorf("got %v", err)
	}

	h.mustBeEmpty()
}

// TestManifestSizeIsLimited pulls from a registry whose manifest does not end.
func TestManifestSizeIsLimited(t *testing.T) {
	sent := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		for block := []byte(strings.Repeat(" ", 64<<10)); sent < 64<<20; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	h := newHost(t)
	_, err := h.Pull(context.Background(), image.PullRequest{Reference: strings.TrimPrefix(srv.URL,
		"http://") + "/app"})
	srv.Close()
	if err == nil || sent > 32<<20 {
		t.Errorf("got %v after %d bytes", err, sent)
	}

	h.mustBeEmpty()
}

func TestManifestBudget(t *testing.T) {
	r, h := newReg(t), newHost(t)
	img := mutate.MediaType(imageOf(t, manyFiles(t, "a", 1)), types.OCIManifestSchema1)
	img = mutate.Annotations(img, map[string]string{"a": strings.Repeat("x", 1<<20)}).(v1.Image)
	_, err := h.Pull(t.Context(), image.PullRequest{Reference: r.push("app", img)})
	_, lerr := h.Load(t.Context(), bytes.NewReader(ociLayout(t, "app:1", img)), "")
	for _, err := range []error{err, lerr} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "bytes of manifest, at most 1048576") {
			t.Errorf("got %v", err)
		}
	}
	h.mustBeEmpty()
}
