package image_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// TestFullDiskLeavesStoreSound fills the disk of the images at many points of a pull, a load, an
// import and a commit. It executes itself in a new mount namespace.
func TestFullDiskLeavesStoreSound(t *testing.T) {
	testns.NeedRoot(t)
	const inside = "IMAGE_TEST_SMALL_DISK"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskLeavesStoreSound$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}

	r := newReg(t)
	made := imageOf(t, manyFiles(t, "a", 60), manyFiles(t, "b", 60))
	ref := r.push("app:1", made)
	archive, root := saved(t, map[string]v1.Image{"app:2": made}), tarOf(t, manyEntries(120)...)
	nothing := &store.Image{ID: "sha256:" + strings.Repeat("0", 64), Platform: "linux/amd64",
		Config: []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)}
	for what, do := range map[string]func(*host) error{
		"pull": func(h *host) error {
			_, err := h.Pull(t.Context(), image.PullRequest{Reference: ref})
			return err
		},
		"load": func(h *host) error {
			_, err := h.Load(t.Context(), bytes.NewReader(archive), "")
			return err
		},
		"import": func(h *host) error {
			_, err := h.Import(t.Context(), image.ImportRequest{Reference: "app:3"}, bytes.NewReader(root))
			return err
		},
		"commit": func(h *host) error {
			_, err := h.Commit(t.Context(), image.CommitRequest{Parent: nothing, Reference: "app:4"},
				func(w io.Writer) error { _, err := w.Write(root); return err })
			return err
		},
	} {
		fits := false
		for size := 16; !fits; size += 48 {
			fits = fill(t, fmt.Sprint(what, " with ", size, " KiB"), size, do)
			if size > 4096 {
				t.Fatalf("%s: does not fit on any disk", what)
			}
		}
	}
}

// fill does something on a disk of some KiB, and reports whether it fits. Otherwise nothing must be
// left, and the store must work.
func fill(t *testing.T, what string, size int, do func(*host) error) bool {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	root := filepath.Join(h.dir, "images")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("small", root, "tmpfs", 0, fmt.Sprintf("size=%dk", size)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()

	h.open()
	defer func() { _ = h.store.Close() }()
	err := do(h)
	if err == nil {
		if len(h.List()) != 1 {
			t.Errorf("%s: got %d images, want 1", what, len(h.List()))
		}
		var out bytes.Buffer
		if err := h.Save(t.Context(), h.List()[0].Tags, "", &out); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}

	if !fault.Is(err, fault.Exhausted) {
		t.Errorf("%s: got %v, want an Exhausted fault", what, err)
	}
	h.mustBeEmpty()
	return false
}

func manyEntries(n int) []entry {
	var out []entry
	for i := range n {
		out = append(out, entry{name: fmt.Sprint("f", i), body: fmt.Sprintf("%01000d", i)})
	}
	return out
}

// Wrong responses for a layer are errors, and a pull of another image is not affected.
func TestWrongRegistryResponses(t *testing.T) {
	r := newReg(t)
	good := r.push("good", imageOf(t, manyFiles(t, "good", 2)))
	bad := manyFiles(t, "bad", 20)
	ref := r.push("app", imageOf(t, bad))
	for what, respond := range map[string]http.HandlerFunc{
		"redirect loop": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.String(), http.StatusTemporaryRedirect)
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"wrong length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "0123456789")
		},
		"page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	} {
		h := newHost(t) // a loop ends by its length, long before the timeout for a stalled download
		r.onBlob(digestOf(t, bad), respond)
		if _, err := h.Pull(t.Context(), image.PullRequest{Reference: ref}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: got %v, want an Unavailable fault", what, err)
		}
		h.mustBeEmpty()
		h.pull(good)
	}
}
