package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

func (h *host) save(refs ...string) []byte {
	h.t.Helper()
	var out bytes.Buffer
	if err := h.Save(h.t.Context(), refs, "", &out); err != nil {
		h.t.Fatal(err)
	}
	return out.Bytes()
}

// extract unpacks an archive into a directory.
func extract(t *testing.T, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o755)
		} else {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(at, content, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSavedArchiveIsReadByOthers(t *testing.T) {
	r, h := newReg(t), newHost(t)
	shared := manyFiles(t, "shared", 3)
	one, two := r.push("one:1", imageOf(t, shared, manyFiles(t, "1", 2))), r.push("two:1",
		imageOf(t, shared, manyFiles(t, "2", 2), shared))
	img := h.pull(one)
	h.pull(two)
	if err := h.Tag(one, "example.com/one:latest"); err != nil {
		t.Fatal(err)
	}

	data := h.save(one, two, "example.com/one:latest", one)
	if !bytes.Equal(data, h.save(one, two, "example.com/one:latest")) {
		t.Error("two archives of the same images differ")
	}

	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	for _, ref := range []string{one, two, "example.com/one:latest"} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tarball.Image(open, &tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(got); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}

	index, err := layout.ImageIndexFromPath(extract(t, data))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}

	other := newHost(t)
	loaded, err := other.Load(t.Context(), bytes.NewReader(data), "")
	if err != nil || len(loaded) != 2 || loaded[0].ID != img.ID || !slices.Equal(loaded[0].Layers, img.Layers) ||
		!slices.Equal(loaded[0].Tags, []string{one, "example.com/one:latest"}) {
		t.Fatalf("got %+v, %v", loaded, err)
	}
	if again := other.save(one, two, "example.com/one:latest"); !bytes.Equal(again, data) {
		t.Error("the archive of the loaded images differs")
	}
}

func TestSaveSelectsNames(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 1)))
	img := h.pull(ref)
	if err := h.Tag(ref, r.host+"/app:2"); err != nil {
		t.Fatal(err)
	}

	for arg, want := range map[string][]string{
		ref: {ref}, r.host + "/app": {ref, r.host + "/app:2"}, img.ID: nil, img.ID[7:19]: nil, img.Digests[0]: nil,
	} {
		got, err := newHost(t).Load(t.Context(), bytes.NewReader(h.save(arg)), "")
		if err != nil || len(got) != 1 || got[0].ID != img.ID || !slices.Equal(got[0].Tags, want) {
			t.Errorf("%s: got %+v, %v; want tags %v", arg, got, err, want)
		}
	}
}

func TestSaveWritesNothingOnFailure(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 1), manyFiles(t, "b", 1)))
	img := h.pull(ref)
	for what, refs := range map[string][]string{"no such image": {ref, "nosuch"}, "no image": nil} {
		var out bytes.Buffer
		if err := h.Save(t.Context(), refs, "", &out); err == nil || out.Len() > 0 {
			t.Errorf("%s: got %d bytes, %v", what, out.Len(), err)
		}
	}

	if err := os.Remove(filepath.Join(filepath.Dir(h.LayerPaths(img)[1]), "tar-split.json.gz")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := h.Save(t.Context(), []string{ref}, "", &out)
	if !fault.Is(err, fault.Busy) || out.Len() > 0 || !strings.HasPrefix(err.Error(), `image "`+ref+`": cannot be saved: layer `) {
		t.Errorf("got %d bytes, %v", out.Len(), err)
	}
	h.pull(ref) // records the layer
	h.save(ref)
}

func TestHistory(t *testing.T) {
	h := newHost(t)
	img, err := h.Import(t.Context(), image.ImportRequest{Reference: "app:1"},
		bytes.NewReader(tarOf(t, entry{name: "f", body: "12345"})))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := h.History("app:1", "")
	if err != nil || len(steps) != 1 || steps[0].ID != img.ID || steps[0].Size != 5 || steps[0].Tags[0] != "app:1" ||
		steps[0].Comment == "" {
		t.Errorf("got %+v, %v", steps, err)
	}

	r := newReg(t)
	if steps, err = h.History(h.pull(r.push("x", imageOf(t, manyFiles(t, "a", 1), manyFiles(t, "b", 1)))).ID,
		""); err != nil || len(steps) != 2 || steps[1].ID != "" || steps[1].Size == 0 {
		t.Errorf("got %+v, %v; want a step for each layer", steps, err)
	}
}
