package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/archive"
)

// pack creates an archive of files.
func pack(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Typeflag: tar.TypeReg, Size: int64(len(files[i+1])),
			Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return buf.Bytes()
}

func TestImagesInArchiveOrder(t *testing.T) {
	data := pack(t, "l1", "first", "c1.json", `{"os":"linux"}`, "l2", "second", "c2.json", `{}`,
		"manifest.json", `[{"Config":"c1.json","RepoTags":["a:1","a:2"],"Layers":["l1","l2"]},{"Config":"c2.json","RepoTags":null,"Layers":["l2"]}]`)
	a, err := archive.Read(context.Background(), t.TempDir(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	images, err := a.Images()
	if err != nil || len(images) != 2 {
		t.Fatalf("got %d images, %v; want 2", len(images), err)
	}

	if got := images[0]; len(got.Names) != 2 || string(got.Config) != `{"os":"linux"}` || len(got.Layers) != 2 {
		t.Errorf("first image: got %+v", got)
	}

	if got := images[1]; len(got.Names) != 0 ||
		got.ID != "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("second image: got %+v", got)
	}

	for range 2 { // a layer can be opened repeatedly
		rc, err := images[0].Layers[1].Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(rc); err != nil || string(body) != "second" {
			t.Errorf("layer: got %q, %v", body, err)
		}
	}
}

func TestNestedIndexDepthIsLimited(t *testing.T) {
	const kind = "application/vnd.oci.image."
	for depth, good := range map[int]bool{0: true, 2: true, 10: false} {
		files := []string{"blobs/sha256/" + hexOf("{}"), "{}"}
		inner := `{"config":{"mediaType":"` + kind + `config.v1+json","digest":"sha256:` + hexOf("{}") + `"}}`
		mediaType := kind + "manifest.v1+json"
		for range depth {
			files = append(files, "blobs/sha256/"+hexOf(inner), inner)
			inner = `{"manifests":[{"mediaType":"` + mediaType + `","digest":"sha256:` + hexOf(inner) + `"}]}`
			mediaType = kind + "index.v1+json"
		}
		files = append(files, "blobs/sha256/"+hexOf(inner), inner,
			"index.json", `{"manifests":[{"mediaType":"`+mediaType+`","digest":"sha256:`+hexOf(inner)+`"}]}`)
		a, err := archive.Read(context.Background(), t.TempDir(), bytes.NewReader(pack(t, files...)))
		if err != nil {
			t.Fatal(err)
		}
		images, err := a.Images()
		if good && (err != nil || len(images) != 1) || !good && !fault.Is(err, fault.Invalid) {
			t.Errorf("depth %d: got %d images, %v", depth, len(images), err)
		}
		_ = a.Close()
	}
}

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func FuzzRead(f *testing.F) {
	f.Add(pack(f, "l", "x", "c", "{}", "manifest.json", `[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`))
	f.Add(pack(f, "index.json", `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00"}]}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		a, err := archive.Read(context.Background(), dir, bytes.NewReader(data))
		if err == nil {
			defer a.Close()
			_, err = a.Images()
		}

		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
			t.Errorf("got %v, want an Invalid fault", err)
		}

		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%v is not removed", left)
		}
	})
}
