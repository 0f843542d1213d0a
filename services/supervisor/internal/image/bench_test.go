package image_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// benchLayers returns five layers of 3,600 files and 68 MB in all, half of which is compressible.
func benchLayers(b *testing.B) []v1.Layer {
	b.Helper()
	rnd := rand.NewChaCha8([32]byte{1})
	var out []v1.Layer
	for l := range 5 {
		entries := []entry{{name: fmt.Sprint("l", l, "/")}}
		for f := range 720 {
			body := make([]byte, 19<<10)
			_, _ = rnd.Read(body[:len(body)/2])
			entries = append(entries, entry{name: fmt.Sprintf("l%d/%d", l, f), body: string(body)})
		}
		out = append(out, layerOf(b, entries...))
	}

	return out
}

func BenchmarkPull(b *testing.B) {
	layers := benchLayers(b)
	r, h := newReg(b), newHost(b)
	all, most := r.push("all", imageOf(b, layers...)), r.push("most", imageOf(b, layers[:4]...))
	remove := func(ref string) {
		if _, err := h.Remove(ref, "", false); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			h.pull(all)
			b.StopTimer()
			remove(all)
			b.StartTimer()
		}
	})
	b.Run("one new layer of five", func(b *testing.B) {
		h.pull(most)
		for b.Loop() {
			h.pull(all)
			b.StopTimer()
			remove(all)
			b.StartTimer()
		}
		remove(most)
	})
	h.pull(all)
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			h.pull(all)
		}
	})
	b.Run("resolve", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Resolve(all, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
