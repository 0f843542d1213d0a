package tarsplit_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/image/tarsplit"
)

// entry is an entry of an archive; the type follows from the other fields.
type entry struct {
	name, body, link string
	kind             byte
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.body))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
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

// files returns the content of an archive's files, the last one of each name.
func files(t testing.TB, data []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err != nil {
			return out
		}
		if out[path.Clean("/"+h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// record records an archive in small pieces.
func record(t testing.TB, data []byte) (tarsplit.Summary, []byte) {
	t.Helper()
	var out bytes.Buffer
	rec := tarsplit.NewRecorder(&out)
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 777)
		if _, err := rec.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	sum, err := rec.Close()
	if err != nil || sum.Size != int64(len(data)) {
		t.Fatalf("got %+v, %v; want the size %d", sum, err, len(data))
	}
	return sum, out.Bytes()
}

func opener(files map[string][]byte) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		data, ok := files[path.Clean("/"+name)]
		if !ok {
			return nil, errors.New("no such file " + name)
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	}
}

func TestArchiveIsReproduced(t *testing.T) {
	plain := archive(t, entry{name: "d/", kind: tar.TypeDir}, entry{name: "d/f", body: strings.Repeat("x", 5000)},
		entry{name: "empty"}, entry{name: "hard", link: "d/f", kind: tar.TypeLink},
		entry{name: "link", link: "d/f", kind: tar.TypeSymlink}, entry{name: ".wh.gone"},
		entry{name: strings.Repeat("long/", 60) + "f", body: "long"}, entry{name: "bad\xff\xfename", body: "raw"},
		entry{name: "same", body: "twice"}, entry{name: "./same", body: "twice"})
	for what, data := range map[string][]byte{
		"plain": plain, "padded": append(bytes.Clone(plain), make([]byte, 70_000)...),
		"trailing data": append(bytes.Clone(plain), "and more"...), "without end": plain[:len(plain)-1024],
		"empty": archive(t),
	} {
		sum, rec := record(t, data)
		if sum.Inexact != "" {
			t.Errorf("%s: got %+v, want an exact record", what, sum)
		}
		var out bytes.Buffer
		if err := tarsplit.Write(&out, bytes.NewReader(rec), opener(files(t, data))); err != nil ||
			!bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: got %d bytes, %v; want the %d of the archive", what, out.Len(), err, len(data))
		}
	}
}

func TestInexactArchiveIsReportedAndKeptRaw(t *testing.T) {
	sparse := archive(t, entry{name: "f", body: "1234"})
	sparse[156] = tar.TypeGNUSparse
	for what, data := range map[string][]byte{
		"replaced file":   archive(t, entry{name: "a", body: "one"}, entry{name: "a", body: "two"}),
		"replaced by dir": archive(t, entry{name: "a", body: "one"}, entry{name: "a/", kind: tar.TypeDir}),
		"whiteout":        archive(t, entry{name: ".wh.a", body: "content"}),
		"sparse":          sparse,
		"no archive":      bytes.Repeat([]byte("no archive"), 100),
	} {
		if sum, _ := record(t, data); sum.Inexact == "" {
			t.Errorf("%s: got an exact record", what)
		}
		var rec, out bytes.Buffer
		if n, err := tarsplit.RecordRaw(bytes.NewReader(data), &rec); err != nil || n != int64(len(data)) {
			t.Errorf("%s: got %d, %v", what, n, err)
		}
		if err := tarsplit.Write(&out, &rec, opener(nil)); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: got %d bytes, %v", what, out.Len(), err)
		}
	}
}

func TestChangedFileIsDetected(t *testing.T) {
	data := archive(t, entry{name: "a", body: "before"})
	_, rec := record(t, data)
	for what, all := range map[string]map[string][]byte{"changed": {"/a": []byte("after.")}, "removed": {}} {
		if err := tarsplit.Write(io.Discard, bytes.NewReader(rec), opener(all)); err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
}

// full fails after some bytes, as a full disk does.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestFullDiskFailsRecord(t *testing.T) {
	rec := tarsplit.NewRecorder(&full{left: 10})
	if _, err := rec.Write(archive(t, entry{name: "a", body: strings.Repeat("x", 100_000)})); err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Close(); err == nil {
		t.Error("got no error")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(archive(f, entry{name: "d/", kind: tar.TypeDir}, entry{name: "d/f", body: "content"}))
	f.Add(archive(f, entry{name: "a", body: "one"}, entry{name: "a", body: "two"}))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, rec := record(t, data)
		if sum.Inexact != "" {
			return
		}
		var out bytes.Buffer
		err := tarsplit.Write(&out, bytes.NewReader(rec), opener(files(t, data)))
		if err == nil && !bytes.Equal(out.Bytes(), data) {
			t.Errorf("got another archive from %q", data)
		}
	})
}
