package image_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/change"
)

func TestCommitAddsLayerAndHistory(t *testing.T) {
	r, h := newReg(t), newHost(t)
	parent := h.pull(r.push("app:1", imageOf(t, manyFiles(t, "a", 2))))
	write := func(data []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(data); return err }
	}
	req := image.CommitRequest{Parent: parent, Reference: "made:1", Author: "me", Message: "why", CreatedBy: "sh",
		Changes: []string{"LABEL a=b"}, Config: change.Config{ImageConfig: ocispec.ImageConfig{User: "u"}}}
	img, err := h.Commit(t.Context(), req, write(tarOf(t, entry{name: "new", body: "x"})))
	if err != nil {
		t.Fatal(err)
	}
	var c ocispec.Image
	if err := json.Unmarshal(img.Config, &c); err != nil {
		t.Fatal(err)
	}
	last := c.History[len(c.History)-1]
	if len(img.Layers) != len(parent.Layers)+1 || c.Author != "me" || last.Author != "me" || last.Comment != "why" ||
		last.CreatedBy != "sh" || last.EmptyLayer || c.Config.User != "u" || c.Config.Labels["a"] != "b" ||
		img.Size <= parent.Size || c.Architecture == "" {
		t.Errorf("got %s with layers %v", img.Config, img.Layers)
	}

	// Without entries there is no layer more.
	req.Reference = "made:2"
	same, err := h.Commit(t.Context(), req, write(tarOf(t)))
	if err != nil || len(same.Layers) != len(parent.Layers) || same.Size != parent.Size {
		t.Errorf("no changes: got %+v, %v", same, err)
	}

	// A request that is not valid and a layer that cannot be written leave nothing.
	for what, bad := range map[string]func(*image.CommitRequest){
		"reference": func(r *image.CommitRequest) { r.Reference = "UPPER" },
		"change":    func(r *image.CommitRequest) { r.Changes = []string{"RUN x"} },
	} {
		b := req
		bad(&b)
		if _, err := h.Commit(t.Context(), b, func(io.Writer) error { t.Error("called"); return nil }); !fault.Is(err,
			fault.Invalid) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	broken := errors.New("broken")
	if _, err := h.Commit(t.Context(), req, func(w io.Writer) error {
		_, _ = w.Write(tarOf(t, entry{name: "half", body: "x"})[:700])
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	h.mustHaveLayers(len(parent.Layers) + 1)
}
