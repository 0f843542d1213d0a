package image_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestLayoutIsThatOfASavedImage(t *testing.T) {
	r, h := newReg(t), newHost(t)
	ref := r.push("app:1", imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 2)))
	img := h.pull(ref)
	manifest, config, err := h.Layout(ref, "")
	if err != nil || digest.FromBytes(config).String() != img.ID {
		t.Fatalf("got configuration %s, %v", config, err)
	}
	if saved := h.save(ref); !bytes.Contains(saved, manifest) {
		t.Errorf("got manifest %s, which is not in the archive of the image", manifest)
	}

	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil || len(m.Layers) != 2 {
		t.Fatalf("got %v, %v", m, err)
	}
	for i, l := range m.Layers {
		var data bytes.Buffer
		err := h.ReadLayer(t.Context(), l.Digest.String(), &data)
		if err != nil || l.Digest.String() != img.Layers[i] || digest.FromBytes(data.Bytes()) != l.Digest ||
			int64(data.Len()) != l.Size {
			t.Errorf("layer %s: got %d bytes, %v", l.Digest, data.Len(), err)
		}
	}
}

func TestReadLayerRejectsWhatIsNotStored(t *testing.T) {
	h := newHost(t)
	for id, kind := range map[string]fault.Kind{"sha256:" + strings.Repeat("0", 64): fault.NotFound,
		"../../etc/passwd": fault.Invalid} {
		var data bytes.Buffer
		if err := h.ReadLayer(t.Context(), id, &data); fault.KindOf(err) != kind || data.Len() > 0 {
			t.Errorf("%s: got %d bytes, %v", id, data.Len(), err)
		}
	}
	if _, _, err := h.Layout("nosuch", ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}
