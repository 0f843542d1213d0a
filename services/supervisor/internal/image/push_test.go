package image_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// requests records the requests to a registry, as METHOD of a kind of path.
type requests struct {
	mu  sync.Mutex
	all []string
}

func (r *requests) watch(reg *reg, spoil func(w http.ResponseWriter, req *http.Request) bool) {
	reg.spoilWith(func(w http.ResponseWriter, req *http.Request) {
		kind := "other"
		for _, k := range []string{"/blobs/uploads/", "/blobs/", "/manifests/"} {
			if strings.Contains(req.URL.Path, k) {
				kind = strings.Trim(k, "/")
				break
			}
		}
		if req.URL.Query().Get("from") != "" {
			kind = "mount"
		}
		r.mu.Lock()
		r.all = append(r.all, req.Method+" "+kind)
		r.mu.Unlock()
		if spoil == nil || !spoil(w, req) {
			reg.pass.ServeHTTP(w, req)
		}
	})
}

func (r *requests) count(what string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.all {
		if a == what {
			n++
		}
	}
	return n
}

func (h *host) push(ref string) image.Pushed {
	h.t.Helper()
	var out image.Pushed
	if err := h.Push(context.Background(), image.PushRequest{Reference: ref,
		Pushed: func(p image.Pushed) { out = p }}); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func TestPushOfExistingLayersIsOneHeadEach(t *testing.T) {
	r, h := newReg(t), newHost(t)
	for kind, made := range map[string]func() types.MediaType{
		"docker": func() types.MediaType { return types.DockerManifestSchema2 },
		"oci":    func() types.MediaType { return types.OCIManifestSchema1 },
	} {
		img := mutate.MediaType(imageOf(t, manyFiles(t, kind, 3), manyFiles(t, kind+"2", 3)), made())
		want, _ := img.Digest()
		ref := r.push("team/"+kind+":1", img)
		h.pull(ref)
		if err := h.Tag(ref, r.host+"/team/"+kind+":2"); err != nil {
			t.Fatal(err)
		}

		seen := &requests{}
		seen.watch(r, nil)
		got := h.push(r.host + "/team/" + kind + ":2")
		if got.Digest != want.String() {
			t.Errorf("%s: got the manifest %s, want the pulled one %s", kind, got.Digest, want)
		}
		if n := seen.count("HEAD blobs"); n != 3 || seen.count("POST blobs/uploads") > 0 ||
			seen.count("PUT manifests") != 1 {
			t.Errorf("%s: got requests %v, want one HEAD for the configuration and each layer", kind, seen.all)
		}
		r.spoilWith(nil)
	}
}

func TestPushMountsFromAnotherRepository(t *testing.T) {
	r, h := newReg(t), newHost(t)
	made := imageOf(t, manyFiles(t, "a", 3))
	want, _ := made.Digest()
	ref := r.push("one", made)
	h.pull(ref)
	if err := h.Tag(ref, r.host+"/two:x"); err != nil {
		t.Fatal(err)
	}

	// The registry of the tests has one pool of blobs; here it depends on the repository.
	mounted := false
	seen := &requests{}
	seen.watch(r, func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case req.Method == http.MethodHead && strings.Contains(req.URL.Path, "/two/blobs/") && !mounted:
			w.WriteHeader(http.StatusNotFound)
			return true
		case req.URL.Query().Get("from") == "one":
			mounted = true
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	var steps []string
	var got image.Pushed
	err := h.Push(t.Context(), image.PushRequest{Reference: r.host + "/two:x",
		Progress: func(p image.Progress) { steps = append(steps, p.Step) }, Pushed: func(p image.Pushed) { got = p }})
	if err != nil || got.Digest != want.String() || seen.count("POST mount") != 1 ||
		seen.count("PATCH blobs/uploads") > 0 {
		t.Errorf("got %+v, %v, requests %v", got, err, seen.all)
	}
	if !slices.Contains(steps, "mounted from one") {
		t.Errorf("got steps %v", steps)
	}
}

func TestPushGivesTheDigestsOfDocker(t *testing.T) {
	r, h := newReg(t), newHost(t)
	data := tarOf(t, entry{name: "etc/"}, entry{name: "etc/motd", body: "hello"})
	img, err := h.Import(t.Context(), image.ImportRequest{Reference: r.host + "/app:1"}, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}

	got := h.push(r.host + "/app:1")
	var blob bytes.Buffer
	zip := gzip.NewWriter(&blob)
	_, _ = zip.Write(data)
	_ = zip.Close()
	sum := sha256.Sum256(blob.Bytes())
	manifest := fmt.Sprintf(`{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": %d,
      "digest": "%s"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": %d,
         "digest": "sha256:%s"
      }
   ]
}`, len(img.Config), img.ID, blob.Len(), hex.EncodeToString(sum[:]))
	want := sha256.Sum256([]byte(manifest))
	if got.Digest != "sha256:"+hex.EncodeToString(want[:]) || got.Size != int64(len(manifest)) {
		t.Errorf("got %+v, want the digest of %s", got, manifest)
	}

	stored, err := h.Get(r.host + "/app@" + got.Digest)
	if err != nil || stored.ID != img.ID || string(stored.Manifest) != manifest {
		t.Errorf("got %+v, %v; want the pushed digest and manifest", stored, err)
	}
	if again := newHost(t).pull(r.host + "/app:1"); again.ID != img.ID || !slices.Equal(again.Layers, img.Layers) {
		t.Errorf("pulled %s with layers %v, want %s", again.ID, again.Layers, img.ID)
	}
}

func TestInterruptedPushResumes(t *testing.T) {
	source, r, h := newReg(t), newReg(t), newHost(t)
	ref := source.push("app", imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 300), manyFiles(t, "c", 3)))
	h.pull(ref)
	if err := h.Tag(ref, r.host+"/app:1"); err != nil {
		t.Fatal(err)
	}

	seen := &requests{}
	patches := 0
	var mu sync.Mutex
	seen.watch(r, func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if req.Method == http.MethodPatch {
			if patches++; patches > 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
		}
		return false
	})
	err := h.Push(t.Context(), image.PushRequest{Reference: r.host + "/app:1"})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), r.host) {
		t.Fatalf("got %v, want an Unavailable fault", err)
	}

	again := &requests{}
	again.watch(r, nil)
	h.push(r.host + "/app:1")
	if n := again.count("PATCH blobs/uploads"); n != 2 { // the failed layer and the configuration
		t.Errorf("got %d uploads, want 2: %v", n, again.all)
	}
}

func TestPushSurvivesTemporaryFailures(t *testing.T) {
	r, h := newReg(t), newHost(t)
	_, err := h.Import(t.Context(), image.ImportRequest{Reference: r.host + "/app:1"}, bytes.NewReader(tarOf(t)))
	if err != nil {
		t.Fatal(err)
	}

	failed := map[string]bool{}
	var mu sync.Mutex
	(&requests{}).watch(r, func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		_, kind, ok := strings.Cut(req.URL.Path, "/v2/app/")
		if kind = req.Method + " " + strings.Split(kind, "/")[0]; ok && !failed[kind] {
			failed[kind] = true
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	h.push(r.host + "/app:1")
	if len(failed) < 4 {
		t.Errorf("got failures of %v, want HEAD, POST, PATCH and PUT", failed)
	}
	newHost(t).pull(r.host + "/app:1")
}

func TestPushRefusals(t *testing.T) {
	r, h := newReg(t), newHost(t)
	if err := h.Push(t.Context(), image.PushRequest{Reference: r.host + "/nosuch"}); !fault.Is(err, fault.NotFound) ||
		!strings.Contains(err.Error(), "An image does not exist locally with the tag: "+r.host+"/nosuch") {
		t.Errorf("got %v", err)
	}

	img, err := h.Import(t.Context(), image.ImportRequest{Reference: r.host + "/app:1"}, bytes.NewReader(tarOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Push(t.Context(), image.PushRequest{Reference: img.ID}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an ID: got %v", err)
	}
	for status, kind := range map[int]fault.Kind{http.StatusUnauthorized: fault.Denied,
		http.StatusForbidden: fault.Denied, http.StatusTooManyRequests: fault.Exhausted,
		http.StatusRequestEntityTooLarge: fault.Unavailable} {
		(&requests{}).watch(r, func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPatch || req.Method == http.MethodPost {
				w.WriteHeader(status)
				return true
			}
			return false
		})
		if err := h.Push(t.Context(), image.PushRequest{Reference: r.host + "/app:1"}); !fault.Is(err, kind) {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

func TestPlatformsAreSavedAndPushedTogether(t *testing.T) {
	source, r, h := newReg(t), newReg(t), newHost(t)
	for _, arch := range []string{"amd64", "arm64"} {
		ref := source.push("app:"+arch, imageFor(t, arch, manyFiles(t, arch, 2)))
		h.pull(ref)
		var archive bytes.Buffer
		if err := h.Save(t.Context(), []string{ref}, "", &archive); err != nil {
			t.Fatal(err)
		}
		named := bytes.ReplaceAll(archive.Bytes(), []byte("app:"+arch), []byte("app:12345"))
		if _, err := h.Load(t.Context(), bytes.NewReader(named), ""); err != nil {
			t.Fatal(err)
		}
	}

	name := source.host + "/app:12345"
	if img, err := h.Resolve(name, "linux/arm64"); err != nil || img.Platform != "linux/arm64" {
		t.Fatalf("got %v, %v", img, err)
	}
	if img, err := h.Resolve(name, ""); err != nil || img.Platform != "linux/amd64" {
		t.Errorf("got %v, %v; want the host's platform", img, err)
	}

	var archive bytes.Buffer
	if err := h.Save(t.Context(), []string{name}, "", &archive); err != nil {
		t.Fatal(err)
	}
	for want, count := range map[string]int{"": 2, "linux/arm64": 1} {
		if got, err := newHost(t).Load(t.Context(), bytes.NewReader(archive.Bytes()), want); err != nil ||
			len(got) != count {
			t.Errorf("load for %q: got %v, %v", want, got, err)
		}
	}

	if err := h.Tag(name, r.host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	pushed := h.push(r.host + "/app:1")
	desc, err := remote.Get(r.ref(t, "app:1"))
	if err != nil || !desc.MediaType.IsIndex() || desc.Digest.String() != pushed.Digest {
		t.Fatalf("got %v, %v; want the index %s", desc, err, pushed.Digest)
	}
	other := newHost(t)
	img, err := other.Pull(t.Context(), image.PullRequest{Reference: r.host + "/app:1", Platform: "linux/arm64"})
	if want, _ := h.Resolve(name, "linux/arm64"); err != nil || img.ID != want.ID {
		t.Errorf("got %v, %v", img, err)
	}
}
