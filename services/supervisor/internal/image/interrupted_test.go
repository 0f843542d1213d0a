package image_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// An interrupted pull keeps its complete layers, also when the agent is restarted, and the next pull
// downloads the others only.
func TestCanceledPullResumes(t *testing.T) {
	r, h := newReg(t), newHost(t)
	whole, half := manyFiles(t, "a", 3), manyFiles(t, "b", 2000)
	ref := r.push("app", imageOf(t, whole, half))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	complete := make(chan struct{})
	r.onBlob(digestOf(t, half), func(w http.ResponseWriter, req *http.Request) {
		sendPart(t, w, half, 2)
		await(t, complete)
		cancel()
		<-req.Context().Done()
	})
	done := func(p image.Progress) {
		if p.Step == "done" {
			close(complete)
		}
	}
	if _, err := h.Pull(ctx, image.PullRequest{Reference: ref, Progress: done}); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}

	h.mustHaveLayers(1)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	h.open()
	r.spoilWith(nil)
	r.blobs()
	h.pull(ref)
	if n := r.blobs(); n != 2 {
		t.Errorf("got %d blob requests, want the configuration and the missing layer", n)
	}
	h.mustHaveLayers(2)
}

func TestPruneRemovesLayersOfInterruptedPull(t *testing.T) {
	r, h := newReg(t), newHost(t)
	whole, missing := manyFiles(t, "a", 3), manyFiles(t, "b", 3)
	ref := r.push("app", imageOf(t, whole, missing))
	r.onBlob(digestOf(t, missing), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	for n := 0; n == 0; { // until the other layer was complete before the failure
		if _, err := h.Pull(t.Context(), image.PullRequest{Reference: ref}); !fault.Is(err, fault.Denied) {
			t.Fatalf("got %v", err)
		}
		entries, err := os.ReadDir(filepath.Join(h.dir, "images", "layers"))
		if err != nil {
			t.Fatal(err)
		}
		n = len(entries)
	}

	done, err := h.Prune(false, nil)
	if err != nil || done.Reclaimed == 0 {
		t.Errorf("got %+v, %v", done, err)
	}
	h.mustBeEmpty()
}

// sendPart sends 1/n of a layer with the Content-Length of the whole.
func sendPart(t testing.TB, w http.ResponseWriter, l v1.Layer, n int64) {
	size, _ := l.Size()
	rc, err := l.Compressed()
	if err != nil {
		t.Error(err)
		return
	}
	defer rc.Close()
	w.Header().Set("Content-Length", fmt.Sprint(size))
	_, _ = io.CopyN(w, rc, size/n)
	w.(http.Flusher).Flush()
}

func TestInterruptedDownloadIsRetried(t *testing.T) {
	r, h := newReg(t), newHost(t)
	l := manyFiles(t, "a", 500)
	ref := r.push("app", imageOf(t, l))
	tries := 0
	r.onBlob(digestOf(t, l), func(w http.ResponseWriter, req *http.Request) {
		if tries++; tries < 3 {
			sendPart(t, w, l, 2)
			panic(http.ErrAbortHandler)
		}
		r.pass.ServeHTTP(w, req)
	})
	h.pull(ref)
	if tries != 3 {
		t.Errorf("got %d attempts, want 3", tries)
	}
}

func TestPullRejectsInvalidLayer(t *testing.T) {
	l := manyFiles(t, "a", 500)
	size, _ := l.Size()
	whole := func() []byte {
		rc, _ := l.Compressed()
		defer rc.Close()
		data, _ := io.ReadAll(rc)
		return data
	}()
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 0xff
	for what, tc := range map[string]struct {
		body []byte
		says string
	}{
		"cut short":               {whole[:size/2], fmt.Sprintf("of %d bytes", size)},
		"empty":                   {nil, fmt.Sprintf("of %d bytes", size)},
		"another content":         {flipped, "wrong digest"},
		"something behind it":     {append(slices.Clone(whole), "tail"...), "longer than"},
		"text of the same length": {[]byte(strings.Repeat("x", int(size))), "wrong digest"},
	} {
		t.Run(what, func(t *testing.T) {
			r, h := newReg(t), newHost(t)
			ref := r.push("app", imageOf(t, manyFiles(t, "good", 3), l))
			r.onBlob(digestOf(t, l), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(tc.body) })
			_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref})
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tc.says) ||
				!strings.Contains(err.Error(), digestOf(t, l).Hex[:12]) {
				t.Errorf("got %v; want an Unavailable fault with the layer and %q", err, tc.says)
			}
			if _, err := h.Prune(false, nil); err != nil { // the other layer can be complete
				t.Error(err)
			}
			h.mustBeEmpty()
			r.spoilWith(nil)
			h.pull(ref)
			h.mustHaveLayers(2)
		})
	}
}

func TestPullRejectsWrongDiffID(t *testing.T) {
	r, h := newReg(t), newHost(t)
	img := imageOf(t, manyFiles(t, "a", 3))
	c, _ := img.ConfigFile()
	c = c.DeepCopy()
	c.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64)
	img, err := mutate.ConfigFile(img, c)
	if err != nil {
		t.Fatal(err)
	}

	ref := r.push("app", img)
	if _, err := h.Pull(context.Background(), image.PullRequest{Reference: ref}); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "but the image requires") {
		t.Errorf("got %v, want an Unavailable fault", err)
	}

	h.mustBeEmpty()
}

func TestPullSelectsPlatformFromIndex(t *testing.T) {
	r := newReg(t)
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"arm64", "amd64", "s390x"} {
		img := imageFor(t, arch, manyFiles(t, arch, 1))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.DockerManifestSchema2, Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}

	if err := remote.WriteIndex(r.ref(t, "multi:1"), index); err != nil {
		t.Fatal(err)
	}

	ref := r.host + "/multi:1"
	for want, arch := range map[string]string{"linux/arm64": "arm64", "linux/s390x": "s390x", "amd64": "amd64"} {
		h := newHost(t)
		img, err := h.Pull(context.Background(), image.PullRequest{Reference: ref, Platform: want})
		if err != nil || img.Platform != "linux/"+arch {
			t.Errorf("for %s: got %+v, %v", want, img, err)
		}
		d, _ := index.Digest()
		if err == nil && !slices.Equal(img.Digests, []string{r.host + "/multi@" + d.String()}) {
			t.Errorf("got digests %v, want the index's", img.Digests)
		}
	}

	h := newHost(t)
	_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref, Platform: "linux/riscv64"})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "linux/amd64, linux/arm64, linux/s390x") {
		t.Errorf("got %v; want a NotFound fault with the available platforms", err)
	}

	single := r.push("single", imageFor(t, "s390x", manyFiles(t, "x", 1)))
	if _, err := h.Pull(context.Background(), image.PullRequest{Reference: single,
		Platform: "linux/amd64"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("image for another platform: got %v, want a NotFound fault", err)
	}

	h.mustBeEmpty()
}

func TestPullReportsLayerProgress(t *testing.T) {
	r, h := newReg(t), newHost(t)
	a, b := manyFiles(t, "a", 300), manyFiles(t, "b", 3)
	ref := r.push("app", imageOf(t, a))
	both := r.push("both", imageOf(t, a, b))
	var got []image.Progress
	pull := func(ref string) map[string]string {
		got = nil
		if _, err := h.Pull(context.Background(), image.PullRequest{Reference: ref,
			Progress: func(p image.Progress) { got = append(got, p) }}); err != nil {
			t.Fatal(err)
		}

		last := map[string]string{}
		for _, p := range got {
			last[p.Subject] = p.Step
			if p.Done > p.Total || p.Done < 0 {
				t.Errorf("got %+v, Done exceeds Total", p)
			}
		}

		if len(got) == 0 || got[0] != (image.Progress{Step: "pulling", Subject: ref + ":latest"}) {
			t.Errorf("got first report %+v", got[:1])
		}

		return last
	}
	if last := pull(ref); last[digestOf(t, a).Hex[:12]] != "done" {
		t.Errorf("got last report %v", last)
	}

	if last := pull(both); last[digestOf(t, a).Hex[:12]] != "exists" || last[digestOf(t, b).Hex[:12]] != "done" {
		t.Errorf("got last reports %v", last)
	}
}

func TestSlowClientDoesNotDelayPulls(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app", imageOf(t, manyFiles(t, "a", 100)))
	stuck, free := make(chan struct{}, 100), make(chan struct{})
	slow := make(chan error, 1)
	go func() {
		_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref, Progress: func(image.Progress) {
			stuck <- struct{}{}
			<-free
		}})
		slow <- err
	}()

	await(t, stuck)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := h.Pull(ctx, image.PullRequest{Reference: ref}); err != nil {
		t.Error(err)
	}

	close(free)
	if err := await(t, slow); err != nil {
		t.Error(err)
	}
}
