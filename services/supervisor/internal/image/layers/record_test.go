package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
)

// tarOf creates an archive of files with content, whiteouts, links and a long name.
func tarOf(t *testing.T, entries ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range entries {
		h.Mode = 0o4755
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(buf.Bytes(), make([]byte, 10<<10)...)
}

func blobOf(data []byte) Blob {
	sum := sha256.Sum256(data)
	return Blob{DiffID: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

func (s *Store) mustWrite(t *testing.T, b Blob, want []byte) {
	t.Helper()
	var out bytes.Buffer
	err := s.Tar(t.Context(), b.DiffID, &out)
	if size, serr := s.TarSize(b.DiffID); err != nil || serr != nil || size != int64(len(want)) ||
		!bytes.Equal(out.Bytes(), want) {
		t.Errorf("got %d bytes, %v, size %d, %v; want the %d bytes of the archive", out.Len(), err, size, serr,
			len(want))
	}
}

func TestTarIsByteExact(t *testing.T) {
	testns.NeedRoot(t)
	for what, data := range map[string][]byte{
		"all types": tarOf(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "d/f", Size: 9000},
			&tar.Header{Name: "d/hard", Typeflag: tar.TypeLink, Linkname: "d/f"},
			&tar.Header{Name: "up", Typeflag: tar.TypeSymlink, Linkname: "../../d"},
			&tar.Header{Name: "up/through", Size: 5}, &tar.Header{Name: "d/.wh.gone"},
			&tar.Header{Name: "e/.wh..wh..opq"},
			&tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
			&tar.Header{Name: strings.Repeat("long/", 40) + "f", Size: 1}),
		"file replaced": tarOf(t, &tar.Header{Name: "f", Size: 10}, &tar.Header{Name: "f", Size: 20}),
	} {
		s, b := openStore(t), blobOf(data)
		s.Hold(b.DiffID)
		if err := s.Add(t.Context(), b, func(Progress) {}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		s.mustWrite(t, b, data)
	}
}

func TestImportedArchiveIsByteExact(t *testing.T) {
	testns.NeedRoot(t)
	s, data := openStore(t), smallTar(t, "a")
	d, err := s.AddArchive(t.Context(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, Blob{DiffID: d}, data)
}

// A layer of an earlier version has no record. It is not written with a wrong digest, and Add
// repairs it.
func TestAddRecordsEarlierLayer(t *testing.T) {
	testns.NeedRoot(t)
	for _, data := range [][]byte{
		smallTar(t, "a"), tarOf(t, &tar.Header{Name: "f", Size: 10}, &tar.Header{Name: "f", Size: 20}),
	} {
		s, b := openStore(t), blobOf(data)
		s.Hold(b.DiffID)
		if err := s.Add(t.Context(), b, func(Progress) {}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.layerDir(b.DiffID), recordName)); err != nil {
			t.Fatal(err)
		}
		if err := s.Tar(t.Context(), b.DiffID, io.Discard); !fault.Is(err, fault.Busy) ||
			!strings.Contains(err.Error(), "was stored by an earlier version") {
			t.Errorf("got %v", err)
		}
		if err := s.Add(t.Context(), b, func(Progress) {}); err != nil {
			t.Fatal(err)
		}
		s.mustWrite(t, b, data)
	}
}

// An imported archive cannot be read twice. One with a replaced file is not written, until the layer
// is pulled or loaded.
func TestInexactImportIsRefusedThenRepaired(t *testing.T) {
	testns.NeedRoot(t)
	data := tarOf(t, &tar.Header{Name: "f", Size: 10}, &tar.Header{Name: "f", Size: 20})
	s, b := openStore(t), blobOf(data)
	d, err := s.AddArchive(t.Context(), bytes.NewReader(data))
	if err != nil || d != b.DiffID {
		t.Fatalf("got %s, %v", d, err)
	}
	if err := s.Tar(t.Context(), d, io.Discard); !fault.Is(err, fault.Busy) ||
		!strings.Contains(err.Error(), "it contains /f more than once") {
		t.Errorf("got %v", err)
	}
	if err := s.Add(t.Context(), b, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, b, data)
}

func TestChangedLayerIsNotWritten(t *testing.T) {
	testns.NeedRoot(t)
	s, b := openStore(t), blobOf(tarOf(t, &tar.Header{Name: "f", Size: 10}))
	s.Hold(b.DiffID)
	if err := s.Add(t.Context(), b, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Path(b.DiffID), "f"), []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Tar(t.Context(), b.DiffID, io.Discard); !fault.Is(err, fault.Internal) ||
		!strings.Contains(err.Error(), "cannot be reproduced") {
		t.Errorf("got %v", err)
	}
}

func TestKnownBlobsAreBoundedAndLatestFirst(t *testing.T) {
	testns.NeedRoot(t)
	s := openStore(t)
	d, err := s.AddArchive(t.Context(), bytes.NewReader(smallTar(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown + 5 {
		if err := s.Remember(d, Known{Digest: strings.Repeat("a", i+1), Repository: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	got := s.KnownBlobs(d)
	if len(got) != maxKnown || len(got[0].Digest) != maxKnown+5 || slices.Contains(got, Known{Digest: "a"}) {
		t.Errorf("got %d, first %v", len(got), got[0])
	}
}
