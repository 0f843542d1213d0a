package image_test

import (
	"bytes"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
)

// FuzzReference calls everything that has a reference as its argument: all calls fail with a fault,
// without a request to a registry.
func FuzzReference(f *testing.F) {
	testns.NeedRoot(f)
	for _, s := range []string{"nginx", "r.example:5000/a/b:1", "@sha256:00", "sha256:", "a@b@c", "UP/er", "[::1]:5/x",
		"-x", "..", "a//b", "x:", "\x00", "ÿ"} {
		f.Add(s)
	}
	h := newHost(f)
	f.Fuzz(func(t *testing.T, ref string) {
		_, err := h.Get(ref)
		errs := []error{err, h.Tag(ref, ref), h.Push(t.Context(), image.PushRequest{Reference: ref}),
			h.Save(t.Context(), []string{ref}, "", &bytes.Buffer{})}
		_, err = h.Remove(ref, "", true)
		errs = append(errs, err)
		for i, err := range errs {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
				t.Errorf("call %d with %q: got %v", i, ref, err)
			}
		}
	})
}

// FuzzManifest loads an OCI layout with any manifest: it is loaded or refused, and never kept half.
func FuzzManifest(f *testing.F) {
	testns.NeedRoot(f)
	img := imageOf(f, manyFiles(f, "a", 1))
	manifest, _ := img.RawManifest()
	config, _ := img.RawConfigFile()
	f.Add(manifest, config)
	f.Add([]byte(`{"schemaVersion":2,"layers":null}`), []byte(`{}`))
	f.Add([]byte(`{"config":{"size":-1}}`), []byte(`{"rootfs":{"diff_ids":["sha256:00"]}}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		digest, size, err := v1.SHA256(bytes.NewReader(manifest))
		if err != nil {
			t.Fatal(err)
		}
		index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{{
			MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: digest, Size: size}}})
		if err != nil {
			t.Fatal(err)
		}
		entries := []entry{{name: "index.json", body: string(index)},
			{name: "blobs/sha256/" + digest.Hex, body: string(manifest)}}
		if d, _, err := v1.SHA256(bytes.NewReader(config)); err == nil {
			entries = append(entries, entry{name: "blobs/sha256/" + d.Hex, body: string(config)})
		}
		for _, data := range [][]byte{tarOf(t, entries...),
			tarOf(t, entry{name: "manifest.json", body: string(manifest)}, entries[0], entries[1])} {
			a, err := archive.Read(t.Context(), t.TempDir(), bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Images(); err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
				t.Errorf("got %v", err)
			}
			_ = a.Close()
		}
	})
}
