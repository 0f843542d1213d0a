package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
)

// saved creates an archive in the format of `docker save`.
func saved(t testing.TB, images map[string]v1.Image) []byte {
	t.Helper()
	refs := map[name.Tag]v1.Image{}
	for n, img := range images {
		tag, err := name.NewTag(n)
		if err != nil {
			t.Fatal(err)
		}
		refs[tag] = img
	}

	var buf bytes.Buffer
	if err := tarball.MultiWrite(refs, &buf); err != nil {
		t.Fatal(err)
	}

	return buf.Bytes()
}

// ociLayout creates an archive of an OCI layout with one named image.
func ociLayout(t testing.TB, ref string, img v1.Image) []byte {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}

	annotations := map[string]string{"org.opencontainers.image.ref.name": ref}
	if err := p.AppendImage(img, layout.WithAnnotations(annotations)); err != nil {
		t.Fatal(err)
	}

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstandard(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func TestLoadArchiveFormats(t *testing.T) {
	img := imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 3))
	id, _ := img.ConfigName()
	docker, oci := saved(t, map[string]v1.Image{"example.com/app:1": img}), ociLayout(t, "example.com/app:1", img)
	for what, data := range map[string][]byte{
		"docker save": docker, "docker save, gzip": gzipped(t, docker), "docker save, zstd": zstandard(t, docker),
		"OCI layout": oci, "OCI layout, gzip": gzipped(t, oci), "OCI layout, zstd": zstandard(t, oci),
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			got, err := h.Load(context.Background(), bytes.NewReader(data), "")
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].ID != id.String() || !slices.Equal(got[0].Tags, []string{"example.com/app:1"}) {
				t.Errorf("got %+v", got)
			}
			if !exists(filepath.Join(h.LayerPaths(got[0])[1], "b", "2")) {
				t.Error("the second layer has no file b/2")
			}

			h.mustHaveLayers(2)
		})
	}
}

func TestLoadImagesWithSharedLayers(t *testing.T) {
	h := newHost(t)
	base := manyFiles(t, "base", 3)
	one, two := imageOf(t, base, manyFiles(t, "1", 1)), imageOf(t, base, manyFiles(t, "2", 1))
	got, err := h.Load(context.Background(), bytes.NewReader(saved(t,
		map[string]v1.Image{"app:1": one, "app:uno": one, "app:2": two})), "")
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v; want two images", got, err)
	}

	for ref, made := range map[string]v1.Image{"app:1": one, "app:uno": one, "app:2": two} {
		id, _ := made.ConfigName()
		if img, err := h.Get(ref); err != nil || img.ID != id.String() {
			t.Errorf("%s: got %v, %v", ref, img, err)
		}
	}

	h.mustHaveLayers(3)
}

func TestLoadReusesPulledLayers(t *testing.T) {
	r, h := newReg(t), newHost(t)
	made := imageOf(t, manyFiles(t, "a", 3))
	pulled := h.pull(r.push("app", made))
	got, err := h.Load(context.Background(), bytes.NewReader(saved(t, map[string]v1.Image{"mine:1": made})), "")
	if err != nil || got[0].ID != pulled.ID || len(got[0].Tags) != 1 || !strings.HasSuffix(got[0].Tags[0], "mine:1") {
		t.Errorf("got %+v, %v; want the tag of the archive only", got, err)
	}
	if stored, err := h.Get("mine:1"); err != nil || len(stored.Tags) != 2 {
		t.Errorf("got %+v, %v; want both tags", stored, err)
	}
	h.mustHaveLayers(1)
}

func TestLoadWithoutLayersThatAreStored(t *testing.T) {
	h := newHost(t)
	base := imageOf(t, manyFiles(t, "a", 3))
	if _, err := h.Load(context.Background(), bytes.NewReader(saved(t, map[string]v1.Image{"base:1": base})),
		""); err != nil {
		t.Fatal(err)
	}

	without := func(l v1.Layer) []byte {
		made := imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 3))
		return rewrite(t, saved(t, map[string]v1.Image{"app:1": made}), func(name string, body []byte) []byte {
			if strings.HasPrefix(name, digestOf(t, l).Hex) {
				return nil
			}
			return body
		})
	}
	if _, err := h.Load(context.Background(), bytes.NewReader(without(manyFiles(t, "b", 3))), ""); !fault.Is(err,
		fault.Invalid) || !strings.Contains(err.Error(), "does not contain the file") {
		t.Errorf("got %v without a layer that is not stored", err)
	}
	if _, err := h.Load(context.Background(), bytes.NewReader(without(manyFiles(t, "a", 3))), ""); err != nil {
		t.Error(err)
	}
	h.mustHaveLayers(2)
}

// rewrite copies an archive with replaced contents; nil removes a file.
func rewrite(t testing.TB, data []byte, change func(name string, body []byte) []byte) []byte {
	t.Helper()
	var entries []entry
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return tarOf(t, entries...)
		}
		body, _ := io.ReadAll(r)
		if body = change(h.Name, body); body != nil {
			entries = append(entries, entry{name: h.Name, body: string(body), kind: h.Typeflag})
		}
	}
}

func TestLoadRejectsInvalidArchive(t *testing.T) {
	good := saved(t, map[string]v1.Image{"app:1": imageOf(t, manyFiles(t, "a", 3), manyFiles(t, "b", 300))})
	oci := ociLayout(t, "app:1", imageOf(t, manyFiles(t, "a", 3)))
	drop := func(suffix string) []byte {
		return rewrite(t, good, func(name string, body []byte) []byte {
			if strings.HasSuffix(name, suffix) {
				return nil
			}
			return body
		})
	}
	for what, data := range map[string][]byte{
		"empty":             nil,
		"text":              []byte("hello, this is no archive"),
		"half":              good[:len(good)/2],
		"half, gzip":        gzipped(t, good)[:len(good)/4],
		"a file system":     tarOf(t, entry{name: "bin/"}, entry{name: "bin/sh", body: "x"}),
		"no layers":         drop(".tar.gz"),
		"no image":          tarOf(t, entry{name: "manifest.json", body: "[]"}),
		"a list of nothing": tarOf(t, entry{name: "manifest.json", body: `{"x":1}`}),
		"path to outside":   tarOf(t, entry{name: "manifest.json", body: `[{"Config":"../../../etc/passwd"}]`}),
		"loop of links": tarOf(t, entry{name: "manifest.json", body: `[{"Config":"a"}]`}, entry{name: "a",
			kind: tar.TypeSymlink, link: "b"}, entry{name: "b", kind: tar.TypeSymlink, link: "a"}),
		"bad name": rewrite(t, good, func(n string,
			b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("app:1"), []byte("APP:1"))
		}),
		"a layer of no image": rewrite(t, good, spoilLast(".tar.gz")),
		"a spoiled blob":      rewrite(t, oci, spoilLast("")),
		"a blob of another digest": rewrite(t, oci, func(_ string, b []byte) []byte {
			if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
				b = slices.Clone(b)
				b[4] ^= 1 // the time in the gzip header: the content stays the same
			}
			return b
		}),
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			if _, err := h.Load(context.Background(), bytes.NewReader(data), ""); !fault.Is(err, fault.Invalid) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want an Invalid fault of one line", err)
			}
			h.mustBeEmpty()
		})
	}
}

// spoilLast changes bytes in the middle of all files with a suffix, except JSON.
func spoilLast(suffix string) func(string, []byte) []byte {
	return func(name string, body []byte) []byte {
		if strings.HasSuffix(name, suffix) && len(body) > 100 && body[0] != '{' && body[0] != '[' {
			body = slices.Clone(body)
			body[len(body)/2] ^= 0xff
		}
		return body
	}
}

func TestLoadFollowsLayerLinks(t *testing.T) {
	good := saved(t, map[string]v1.Image{"app:1": imageOf(t, manyFiles(t, "a", 3))})
	var entries []entry
	for r := tar.NewReader(bytes.NewReader(good)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		body, _ := io.ReadAll(r)
		if strings.HasSuffix(h.Name, ".tar.gz") {
			entries = append(entries, entry{name: "x/" + h.Name, body: string(body)},
				entry{name: "y/l", kind: tar.TypeSymlink, link: "../x/" + h.Name},
				entry{name: h.Name, kind: tar.TypeSymlink, link: "./y/l"})
			continue
		}
		entries = append(entries, entry{name: "./" + h.Name, body: string(body)})
	}

	if _, err := newHost(t).Load(context.Background(), bytes.NewReader(tarOf(t, entries...)), ""); err != nil {
		t.Error(err)
	}
}

func TestImportCreatesImage(t *testing.T) {
	h := newHost(t)
	data := tarOf(t, entry{name: "bin/"}, entry{name: "bin/sh", body: "x", mode: 0o755})
	for what, in := range map[string][]byte{"plain": data, "gzip": gzipped(t, data), "zstd": zstandard(t, data)} {
		img, err := h.Import(context.Background(), image.ImportRequest{Reference: "mine", Platform: "linux/arm64",
			Changes: []string{`CMD ["/bin/sh"]`, "ENV A=b", "EXPOSE 80", "WORKDIR /srv", "STOPSIGNAL SIGQUIT",
				"USER 1:2", "LABEL x=y", "ENTRYPOINT /init"}},
			bytes.NewReader(in))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var c ocispec.Image
		if err := json.Unmarshal(img.Config, &c); err != nil {
			t.Fatal(err)
		}
		want := ocispec.ImageConfig{Cmd: []string{"/bin/sh"}, Env: []string{"A=b"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}}, WorkingDir: "/srv",
			StopSignal: "SIGQUIT", User: "1:2", Labels: map[string]string{"x": "y"}, Entrypoint: []string{"/bin/sh",
				"-c", "/init"}}
		if d := cmp.Diff(want, c.Config); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		if got, err := h.Get("mine:latest"); err != nil || got.ID != img.ID || img.Platform != "linux/arm64" ||
			img.Size != 1 {
			t.Errorf("%s: got %+v, %v", what, img, err)
		}
	}

	h.mustHaveLayers(1)
}

func TestImportRejectsInvalidRequest(t *testing.T) {
	h := newHost(t)
	data := tarOf(t, entry{name: "a", body: strings.Repeat("x", 2000)})
	for what, tc := range map[string]struct {
		req image.ImportRequest
		in  []byte
	}{
		"reference": {image.ImportRequest{Reference: "No"}, data},
		"digest":    {image.ImportRequest{Reference: "a@sha256:" + strings.Repeat("0", 64)}, data},
		"change":    {image.ImportRequest{Changes: []string{"RUN x"}}, data},
		"platform":  {image.ImportRequest{Platform: "plan9/amd64"}, data},
		"archive":   {image.ImportRequest{Reference: "a"}, []byte(strings.Repeat("no archive ", 100))},
		"cut short": {image.ImportRequest{Reference: "a"}, data[:1000]},
		"xz":        {image.ImportRequest{Reference: "a"}, []byte("\xfd7zXZ\x00 and so on")},
	} {
		if _, err := h.Import(context.Background(), tc.req, bytes.NewReader(tc.in)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an Invalid fault", what, err)
		}
	}

	h.mustBeEmpty()
}

func TestReaderErrorIsReturned(t *testing.T) {
	h := newHost(t)
	boom := fault.New(fault.Invalid, "import", "the stream is not what it should be")
	data := tarOf(t, entry{name: "a", body: strings.Repeat("x", 2000)})
	in := func() io.Reader { return io.MultiReader(bytes.NewReader(data[:1500]), failing{boom}) }
	if _, err := h.Import(context.Background(), image.ImportRequest{}, in()); fault.KindOf(err) != fault.Invalid ||
		!strings.Contains(err.Error(), "the stream is not") {
		t.Errorf("import: got %v, want %v", err, boom)
	}
	if _, err := h.Load(context.Background(), in(), ""); fault.KindOf(err) != fault.Invalid ||
		!strings.Contains(err.Error(), "the stream is not") {
		t.Errorf("load: got %v, want %v", err, boom)
	}
	h.mustBeEmpty()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRepeatedLayerIsStoredOnce(t *testing.T) {
	h := newHost(t)
	a, b := manyFiles(t, "a", 1), manyFiles(t, "b", 1)
	img, err := mutate.AppendLayers(imageOf(t, a, b), a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Load(context.Background(), bytes.NewReader(saved(t, map[string]v1.Image{"app:1": img})), "")
	if err != nil || len(got[0].Layers) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	h.mustHaveLayers(2)
}
