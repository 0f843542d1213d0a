package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

func TestRemoveLastTagRemovesImage(t *testing.T) {
	r, h := newReg(t), newHost(t)
	shared := manyFiles(t, "shared", 2)
	one, two := r.push("one:1", imageOf(t, shared, manyFiles(t, "1", 2))), r.push("two:1",
		imageOf(t, shared, manyFiles(t, "2", 2)))
	img := h.pull(one)
	h.pull(two)
	if err := h.Tag(one, "mine"); err != nil {
		t.Fatal(err)
	}

	done, err := h.Remove(one, "", false)
	if err != nil || len(done.Deleted) > 0 || !slices.Contains(done.Untagged, one) {
		t.Fatalf("first tag: got %+v, %v", done, err)
	}

	h.mustHaveLayers(3)
	done, err = h.Remove("mine:latest", "", false)
	if err != nil || !slices.Equal(done.Deleted, []string{img.ID, img.Layers[1]}) ||
		!slices.Equal(done.Untagged, []string{"mine:latest"}) {
		t.Fatalf("last tag: got %+v, %v", done, err)
	}

	h.mustHaveLayers(2)
	if _, err := h.Remove(one, "", false); fault.ReasonOf(err) != fault.ReasonNoSuchImage || err.Error() != `image "`+one+`": No such image` {
		t.Errorf("second removal: got %v", err)
	}

	if _, err := h.Remove(two, "", false); err != nil {
		t.Fatal(err)
	}

	h.mustBeEmpty()
}

func TestRemoveRejectsImageInUse(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 2)))
	img := h.pull(ref)
	c := &container.Container{ID: id.New(), Config: container.Config{Name: "web", Image: ref}, ImageID: img.ID,
		Status: container.Exited}
	if err := h.store.AddContainer(c); err != nil {
		t.Fatal(err)
	}

	want := `image "` + ref + `": image is being used by stopped container ` + id.Short(c.ID)
	if _, err := h.Remove(ref, "", false); !fault.Is(err, fault.Busy) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}

	if _, err := h.Remove(ref, "", true); err != nil {
		t.Errorf("with force: got %v", err)
	}

	h.mustHaveLayers(1)
	if err := h.store.DeleteContainer(c.ID); err != nil {
		t.Fatal(err)
	}

	if _, err := h.Remove(img.ID, "", false); err != nil {
		t.Error(err)
	}

	h.mustBeEmpty()
}

func TestAmbiguousIDIsRejected(t *testing.T) {
	r, h := newReg(t), newHost(t)
	seen := map[byte]bool{}
	var shared string
	for i := range 40 { // of 17 ids two start with the same digit
		img := h.pull(r.push("app", imageOf(t, manyFiles(t, string(rune('a'+i)), 1))))
		digit := strings.TrimPrefix(img.ID, "sha256:")[0]
		if seen[digit] {
			shared = string(digit)
			break
		}
		seen[digit] = true
	}

	if _, err := h.Get(shared); !fault.Is(err, fault.Invalid) {
		t.Errorf("%q: got %v, want an Invalid fault", shared, err)
	}
}

func TestTagRejectsInvalidName(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 1)))
	h.pull(ref)
	for _, bad := range []string{"", "App", "a b", "a@sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 64),
		"sha256:abc"} {
		if err := h.Tag(ref, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("Tag(%q): got %v, want an Invalid fault", bad, err)
		}
	}
	if err := h.Tag("nothing", "a"); fault.ReasonOf(err) != fault.ReasonNoSuchImage {
		t.Errorf("tag of an unknown image: got %v", err)
	}
}

func TestOpenRemovesStaleFiles(t *testing.T) {
	r, h := newReg(t), newHost(t)
	img := h.pull(r.push("app", imageOf(t, manyFiles(t, "a", 2))))
	layers := filepath.Join(h.dir, "images", "layers")
	for _, path := range []string{
		filepath.Join(layers, strings.Repeat("0", 64)+".tmp-123", "fs", "deep"), // incomplete layer
		// complete layer without a stored image
		filepath.Join(layers, strings.Repeat("1", 64), "fs"),
	} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	unused, old := filepath.Join(layers, strings.Repeat("1", 64)), time.Now().Add(-48*time.Hour)
	if err := errors.Join(os.Chmod(unused, 0o700|os.ModeSticky), os.Chtimes(unused, old, old)); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(h.dir, "images", "archive.tmp-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}

	h.open()
	h.mustHaveLayers(1)
	if got, err := h.Get(img.ID); err != nil || !exists(h.LayerPaths(got)[0]) {
		t.Errorf("existing image: got %v, %v", got, err)
	}
}

func TestMissingLayerIsPulledAgain(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app", imageOf(t, manyFiles(t, "a", 2), manyFiles(t, "b", 2)))
	img := h.pull(ref)
	if err := os.RemoveAll(filepath.Dir(h.LayerPaths(img)[0])); err != nil {
		t.Fatal(err)
	}
	h.pull(ref)
	h.mustHaveLayers(2)
}

func TestConcurrentPullAndRemove(t *testing.T) {
	r, h := newReg(t), newHost(t)
	shared := manyFiles(t, "shared", 20)
	refs := []string{r.push("one", imageOf(t, shared, manyFiles(t, "1", 2))),
		r.push("two", imageOf(t, shared, manyFiles(t, "2", 2)))}
	end := time.Now().Add(time.Second)
	var group sync.WaitGroup
	for _, ref := range refs {
		group.Go(func() {
			for time.Now().Before(end) {
				img, err := h.Pull(context.Background(), image.PullRequest{Reference: ref})
				if err != nil {
					t.Error(err)
					return
				}
				for _, path := range h.LayerPaths(img) {
					if !exists(path) {
						t.Errorf("%s does not exist, but its image does", path)
					}
				}
				if _, err := h.Remove(ref, "", false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}

	group.Wait()
	h.mustBeEmpty()
}
