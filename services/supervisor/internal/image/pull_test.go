package image_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

func TestPulledImageResolvesByAllNames(t *testing.T) {
	r, h := newReg(t), newHost(t)
	made := imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 3))
	ref := r.push("team/app:1.0", made)
	img := h.pull(ref)
	id, _ := made.ConfigName()
	digest, _ := made.Digest()
	if img.ID != id.String() || !slices.Equal(img.Tags, []string{ref}) || img.Platform != "linux/amd64" ||
		len(img.Layers) != 2 || img.Size == 0 {
		t.Errorf("got %+v", img)
	}

	for _, name := range []string{ref, r.host + "/team/app@" + digest.String(), id.String(), id.Hex, id.Hex[:12],
		"sha256:" + id.Hex[:7]} {
		if got, err := h.Resolve(name, ""); err != nil || got.ID != img.ID {
			t.Errorf("Resolve(%s): got %v, %v", name, got, err)
		}
	}

	for _, name := range []string{r.host + "/team/app", "app:1.0", r.host + "/team/app:1.1", "0000"} {
		if _, err := h.Resolve(name, ""); !fault.Is(err, fault.NotFound) ||
			fault.ReasonOf(err) != fault.ReasonNoSuchImage {
			t.Errorf("Resolve(%s): got %v, want a NotFound fault with the reason NO_SUCH_IMAGE", name, err)
		}
	}

	if _, err := h.Resolve(ref, "linux/amd64"); err != nil {
		t.Error(err)
	}

	if _, err := h.Resolve(ref, "linux/arm64"); fault.ReasonOf(err) != fault.ReasonNoSuchImage {
		t.Errorf("for another platform: got %v", err)
	}

	h.mustHaveLayers(2)
}

func TestPullSkipsExistingLayers(t *testing.T) {
	r, h := newReg(t), newHost(t)
	a, b, c := manyFiles(t, "a", 3), manyFiles(t, "b", 3), manyFiles(t, "c", 3)
	one, two := r.push("one", imageOf(t, a, b)), r.push("two", imageOf(t, a, b, c))
	h.pull(one)
	r.blobs()
	h.pull(two)
	if n := r.blobs(); n != 2 { // the configuration and the new layer
		t.Errorf("second image: got %d blob requests, want 2", n)
	}

	h.pull(two)
	if n := r.blobs(); n > 1 {
		t.Errorf("second pull: got %d blob requests, want the configuration at most", n)
	}

	h.mustHaveLayers(3)
}

func TestMovedTagLeavesUntaggedImage(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app", imageOf(t, manyFiles(t, "a", 1)))
	old := h.pull(ref)
	r.push("app", imageOf(t, manyFiles(t, "b", 1)))
	if img := h.pull(ref); img.ID == old.ID {
		t.Fatal("the tag was not moved")
	}
	if got, err := h.Get(old.ID); err != nil || len(got.Tags) != 0 {
		t.Errorf("previous image: got %+v, %v; want no tags", got, err)
	}
}

func TestPullByDigest(t *testing.T) {
	r, h := newReg(t), newHost(t)
	made := imageOf(t, manyFiles(t, "a", 1))
	r.push("app", made)
	d, _ := made.Digest()
	img := h.pull(r.host + "/app@" + d.String())
	if len(img.Tags) != 0 || len(img.Digests) != 1 {
		t.Errorf("got tags %v and digests %v, want one digest only", img.Tags, img.Digests)
	}

	if _, err := h.Remove(img.Digests[0], "", false); err != nil {
		t.Error(err)
	}

	h.mustBeEmpty()
}

func TestConcurrentPullsShareDownloads(t *testing.T) {
	r, h := newReg(t), newHost(t)
	shared := manyFiles(t, "shared", 200)
	var refs []string
	for i := range 6 {
		refs = append(refs, r.push(fmt.Sprint("app", i), imageOf(t, shared, manyFiles(t, fmt.Sprint("own", i), 1))))
	}

	gate, first := make(chan struct{}), make(chan struct{}, 100)
	r.onBlob(digestOf(t, shared), func(w http.ResponseWriter, req *http.Request) {
		first <- struct{}{}
		<-gate
		r.pass.ServeHTTP(w, req)
	})
	var group sync.WaitGroup
	for _, ref := range refs {
		group.Go(func() {
			if _, err := h.Pull(context.Background(), image.PullRequest{Reference: ref}); err != nil {
				t.Error(err)
			}
		})
	}

	await(t, first)
	close(gate)
	group.Wait()
	if n := len(first); n != 0 {
		t.Errorf("got %d downloads of the shared layer, want 1", n+1)
	}

	h.mustHaveLayers(7)
}

func TestCanceledPullKeepsSharedDownload(t *testing.T) {
	r, h := newReg(t), newHost(t)
	l := manyFiles(t, "shared", 50)
	ref := r.push("app", imageOf(t, l))
	gate, asked := make(chan struct{}), make(chan struct{}, 10)
	r.onBlob(digestOf(t, l), func(w http.ResponseWriter, req *http.Request) {
		asked <- struct{}{}
		select {
		case <-gate:
			r.pass.ServeHTTP(w, req)
		case <-req.Context().Done():
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	left, stayed, waiting := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() {
		_, err := h.Pull(ctx, image.PullRequest{Reference: ref})
		left <- err
	}()

	await(t, asked)
	go func() {
		var once sync.Once
		_, err := h.Pull(context.Background(), image.PullRequest{Reference: ref, Progress: func(p image.Progress) {
			if p.Step == "waiting" {
				once.Do(func() { close(waiting) })
			}
		}})
		stayed <- err
	}()

	await(t, waiting)
	cancel()
	if err := await(t, left); err != context.Canceled {
		t.Errorf("canceled pull: got %v, want %v", err, context.Canceled)
	}

	close(gate)
	if err := await(t, stayed); err != nil {
		t.Errorf("remaining pull: %v", err)
	}

	h.mustHaveLayers(1)
}

func TestPullAllTags(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 1)))
	r.push("app:2", imageOf(t, manyFiles(t, "b", 1)))
	repo := strings.TrimSuffix(ref, ":1")
	var got []string
	each := func(img *store.Image) error { got = append(got, img.Tags...); return nil }
	if err := h.PullAll(t.Context(), image.PullRequest{Reference: repo}, each); err != nil || len(got) != 2 ||
		!strings.HasSuffix(got[0], "app:1") || !strings.HasSuffix(got[1], "app:2") {
		t.Errorf("got %v, %v", got, err)
	}
	for bad, kind := range map[string]fault.Kind{ref: fault.Invalid, "UPPER": fault.Invalid,
		repo + "/none": fault.NotFound} {
		if err := h.PullAll(t.Context(), image.PullRequest{Reference: bad}, each); !fault.Is(err, kind) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
