package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	regserver "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// host is the images of a supervisor and their store.
type host struct {
	*image.Images
	t     testing.TB
	dir   string
	store *store.Store
}

func newHost(t testing.TB, change ...func(*image.Config)) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.open(change...)
	return h
}

func (h *host) open(change ...func(*image.Config)) {
	h.t.Helper()
	var err error
	if h.store, err = store.Open(h.dir); err != nil {
		h.t.Fatal(err)
	}

	h.t.Cleanup(func() { _ = h.store.Close() })
	cfg := image.Config{Root: filepath.Join(h.dir, "images"), Store: h.store, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}

	if h.Images, err = image.Open(context.Background(), cfg); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) pull(ref string) *store.Image {
	h.t.Helper()
	img, err := h.Pull(context.Background(), image.PullRequest{Reference: ref})
	if err != nil {
		h.t.Fatal(err)
	}
	return img
}

// mustBeEmpty fails if an image, a layer or a stale file exists.
func (h *host) mustBeEmpty() {
	h.t.Helper()
	if l := h.List(); len(l) > 0 {
		h.t.Errorf("got %d images, want none", len(l))
	}
	h.mustHaveLayers(0)
}

// mustHaveLayers fails unless exactly want complete layers exist and nothing else.
func (h *host) mustHaveLayers(want int) {
	h.t.Helper()
	n := 0
	entries, err := os.ReadDir(filepath.Join(h.dir, "images", "layers"))
	if err != nil {
		h.t.Fatal(err)
	}

	for _, e := range entries {
		if strings.Contains(e.Name(), ".tmp") {
			h.t.Errorf("%s is not removed", e.Name())
		}
		n++
	}

	if n != want {
		h.t.Errorf("got %d layers, want %d", n, want)
	}

	if left, _ := filepath.Glob(filepath.Join(h.dir, "images", "archive.tmp*")); len(left) > 0 {
		h.t.Errorf("%v are not removed", left)
	}
}

// reg is a registry on loopback whose responses a test can replace.
type reg struct {
	t      testing.TB
	host   string
	server *httptest.Server

	mu    sync.Mutex
	spoil http.HandlerFunc // receives each request first, and responds or calls pass
	pass  http.Handler
	count map[string]int // requests by path
}

func newReg(t testing.TB) *reg {
	t.Helper()
	r := &reg{t: t, count: map[string]int{}, pass: regserver.New(regserver.Logger(log.New(io.Discard, "", 0)))}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		spoil := r.spoil
		if req.Method == http.MethodGet {
			r.count[req.URL.Path]++
		}
		r.mu.Unlock()
		if spoil != nil {
			spoil(w, req)
			return
		}
		r.pass.ServeHTTP(w, req)
	}))
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
	})
	r.host = strings.TrimPrefix(r.server.URL, "http://")
	return r
}

func (r *reg) spoilWith(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoil = f
}

// blobs returns the number of blob requests since the last call.
func (r *reg) blobs() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, c := range r.count {
		if strings.Contains(path, "/blobs/") {
			n += c
		}
	}
	clear(r.count)
	return n
}

func (r *reg) ref(t testing.TB, repo string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(r.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// push stores an image in the registry and returns its full name.
func (r *reg) push(repo string, img v1.Image) string {
	r.t.Helper()
	if err := remote.Write(r.ref(r.t, repo), img); err != nil {
		r.t.Fatal(err)
	}
	return r.host + "/" + repo
}

var blobPath = regexp.MustCompile(`^/v2/.+/blobs/(sha256:[0-9a-f]{64})$`)

// onBlob replaces the responses for one blob.
func (r *reg) onBlob(h v1.Hash, f http.HandlerFunc) {
	r.spoilWith(func(w http.ResponseWriter, req *http.Request) {
		if m := blobPath.FindStringSubmatch(req.URL.Path); m != nil && m[1] == h.String() &&
			req.Method == http.MethodGet {
			f(w, req)
			return
		}
		r.pass.ServeHTTP(w, req)
	})
}

// entry is an entry of a tar archive.
type entry struct {
	name string
	kind byte // 0 means a file, or a directory if the name ends with a slash
	body string
	link string
	mode int64
	uid  int
	pax  map[string]string
	dev  [2]int64
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, Gid: e.uid,
			Size: int64(len(e.body)), Linkname: e.link,
			PAXRecords: e.pax, Devmajor: e.dev[0], Devminor: e.dev[1]}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(e.name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = map[byte]int64{tar.TypeDir: 0o755}[h.Typeflag] | 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return buf.Bytes()
}

// layerOf creates a gzipped layer.
func layerOf(t testing.TB, entries ...entry) v1.Layer {
	t.Helper()
	data := tarOf(t, entries...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func imageOf(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	return imageFor(t, "amd64", layers...)
}

func imageFor(t testing.TB, arch string, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}

	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}

	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", arch
	c.Config.Cmd = []string{"/bin/true"}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}

	return img
}

// manyFiles creates a unique layer of a given size.
func manyFiles(t testing.TB, seed string, n int) v1.Layer {
	t.Helper()
	entries := []entry{{name: seed + "/"}}
	for i := range n {
		entries = append(entries, entry{name: fmt.Sprintf("%s/%d", seed, i),
			body: strings.Repeat(fmt.Sprint(seed, i), 200)})
	}
	return layerOf(t, entries...)
}

func digestOf(t testing.TB, l v1.Layer) v1.Hash {
	t.Helper()
	d, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// tree lists all paths below a directory.
func tree(t testing.TB, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != root {
			out = append(out, strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// await receives from a channel, and fails on timeout.
func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatal("timeout waiting for the channel")
	}
	return v
}
