package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
)

// The upper directory of an overlay becomes a layer: deletions and opaque directories are whiteouts.
func TestLayerHasWhiteouts(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/kept/opaque", 0o755), os.MkdirAll(dir+"/skipped", 0o755),
		os.WriteFile(dir+"/kept/opaque/file", []byte("x"), 0o600), unix.Mknod(dir+"/kept/gone", unix.S_IFCHR, 0),
		unix.Mknod(dir+"/top", unix.S_IFCHR, 0), unix.Mknod(dir+"/null", unix.S_IFCHR, int(unix.Mkdev(1, 3))),
		unix.Setxattr(dir+"/kept/opaque", "trusted.overlay.opaque", []byte("y"), 0)); err != nil {
		t.Fatal(err)
	}
	root, err := beneath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err = errors.Join(tree.Write(t.Context(), w, root, "/", "", tree.Options{Whiteouts: true, Change: wholeSeconds,
		Skip: func(name string) bool { return name == "skipped" }}), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&buf); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Nanosecond() != 0 || len(h.PAXRecords) > 0 {
			t.Errorf("%s: got time %s and records %v", h.Name, h.ModTime, h.PAXRecords)
		}
		got = append(got, h.Name)
	}
	want := []string{"kept/", "kept/.wh.gone", "kept/opaque/", "kept/opaque/.wh..wh..opq", "kept/opaque/file", "null",
		".wh.top"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
