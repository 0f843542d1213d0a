package localtree_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/localtree"
)

func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname, h.Size, h.Mode = h.Linkname, "", int64(len(h.Linkname)), 0o640
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestRoundTrip(t *testing.T) {
	from, to := t.TempDir()+"/d", t.TempDir()
	if err := os.MkdirAll(from+"/sub", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from+"/sub/f", []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", from+"/l"); err != nil {
		t.Fatal(err)
	}

	var buf bytes.Buffer
	if err := localtree.Write(t.Context(), &buf, from, "top"); err != nil {
		t.Fatal(err)
	}
	if err := localtree.Extract(&buf, localtree.Into{Dir: to, From: "top", To: "new"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to + "/new/sub/f")
	if link, _ := os.Readlink(to + "/new/l"); err != nil || string(got) != "x" || link != "/nowhere" {
		t.Errorf("got %q, %q, %v", got, link, err)
	}
	if st, err := os.Stat(to + "/new/sub"); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("got %v, %v", st, err)
	}
}

func TestExtractStaysInside(t *testing.T) {
	outside := t.TempDir()
	evil := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: "evil"} }
	whole := archive(t, evil("f"))
	for what, in := range map[string][]byte{
		"parent":    archive(t, evil("../victim")),
		"symlink":   archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "s", Linkname: outside}, evil("s/victim")),
		"hard link": archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../victim"}, evil("h")),
		"cut off":   whole[:513],
	} {
		to := filepath.Join(outside, "to "+what)
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := localtree.Extract(bytes.NewReader(in), localtree.Into{Dir: to, From: "f", To: "f"}); err == nil {
			t.Errorf("%s: got no error", what)
		}
		if _, err := os.Lstat(outside + "/victim"); err == nil {
			t.Fatalf("%s: written outside", what)
		}
		if _, err := os.Lstat(to + "/f"); err == nil {
			t.Errorf("%s: a part of the file is left", what)
		}
	}
}

func TestDestination(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]string{"loop": "loop", "link": "gone", "dir": "."} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := localtree.Destination(dir + "/link"); err != nil || p.Exists || p.Name != dir+"/gone" {
		t.Errorf("got %+v, %v", p, err)
	}
	if p, err := localtree.Destination(dir + "/dir"); err != nil || !p.IsDir {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, name := range []string{"/loop", "/no/parent"} {
		if p, err := localtree.Destination(dir + name); err == nil {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}
