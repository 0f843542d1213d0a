package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
	"github.com/fairlead/fairlead/services/supervisor/internal/beneath/tree"
)

func open(t *testing.T, dir string) *beneath.Root {
	t.Helper()
	root, err := beneath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, at, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	must(t, tree.Write(t.Context(), w, open(t, dir), at, name, tree.Options{}), w.Close())
	return buf.Bytes()
}

// A tree that is archived and unpacked is the same.
func TestTreeSurvivesCircle(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	old := time.Unix(1e9, 0)
	must(t, os.MkdirAll(from+"/dir/empty", 0o755), os.WriteFile(from+"/dir/file", []byte("content"), 0o640),
		os.WriteFile(from+"/dir/sparse", append(make([]byte, 1<<20), 'x'), 0o600),
		os.Link(from+"/dir/file", from+"/dir/hard"),
		os.Symlink("/etc/passwd", from+"/dir/link"), unix.Mkfifo(from+"/dir/pipe", 0o600),
		os.Chown(from+"/dir/file", 5, 6), unix.Chmod(from+"/dir/file", 0o4750), os.Chtimes(from+"/dir/file", old, old),
		unix.Setxattr(from+"/dir/file", "user.a", []byte("b"), 0), unix.Chmod(from+"/dir", 0o2711),
		os.Chtimes(from+"/dir", old, old))
	must(t, tree.Extract(t.Context(), bytes.NewReader(write(t, from, "/dir", "dir")), open(t, to), tree.Into{}))

	var st, hard unix.Stat_t
	must(t, unix.Lstat(to+"/dir/file", &st), unix.Lstat(to+"/dir/hard", &hard))
	if st.Uid != 5 || st.Gid != 6 || st.Mode&0o7777 != 0o4750 || st.Ino != hard.Ino || st.Mtim.Sec != 1e9 {
		t.Errorf("got %+v", st)
	}
	value := make([]byte, 8)
	if n, err := unix.Getxattr(to+"/dir/file", "user.a", value); err != nil || string(value[:n]) != "b" {
		t.Errorf("got attribute %q, %v", value[:max(n, 0)], err)
	}
	if link, err := os.Readlink(to + "/dir/link"); link != "/etc/passwd" {
		t.Errorf("got %q, %v", link, err)
	}
	must(t, unix.Lstat(to+"/dir", &st))
	if st.Mode&0o7777 != 0o2711 || st.Mtim.Sec != 1e9 {
		t.Errorf("got directory %+v", st)
	}
	must(t, unix.Lstat(to+"/dir/sparse", &st), unix.Lstat(to+"/dir/pipe", &hard))
	if st.Size != 1<<20+1 || st.Blocks*512 > 1<<19 || hard.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("got %+v, %+v", st, hard)
	}
}

func archive(t *testing.T, headers ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		content := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = int64(len(content)), ""
		}
		must(t, w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(content))
			must(t, err)
		}
	}
	must(t, w.Close())
	return buf.Bytes()
}

func TestEntriesOutsideAreRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/victim", []byte("safe"), 0o600))
	file := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Linkname: "evil"}
	}
	for what, in := range map[string][]byte{
		"parent":      archive(t, file("../victim")),
		"deep parent": archive(t, file("a/../../victim")),
		"hard link":   archive(t, &tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../victim"}, file("h")),
		"symlink": archive(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "up", Linkname: ".."},
			file("up/victim")),
		"absolute symlink": archive(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "abs", Linkname: dir},
			file("abs/victim")),
		"hard link through symlink": archive(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "s", Linkname: ".."},
			&tar.Header{Typeflag: tar.TypeLink, Name: "h2", Linkname: "s/victim"}),
	} {
		to := filepath.Join(dir, "to "+what)
		must(t, os.Mkdir(to, 0o755))
		if err := tree.Extract(t.Context(), bytes.NewReader(in), open(t, to), tree.Into{}); err == nil {
			t.Errorf("%s: got no error", what)
		}
		if got, _ := os.ReadFile(dir + "/victim"); string(got) != "safe" {
			t.Fatalf("%s: got %q", what, got)
		}
	}
}

func TestBrokenArchivesAreRefused(t *testing.T) {
	whole := archive(t, &tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o600,
		Linkname: strings.Repeat("content ", 1000)})
	for _, n := range []int{100, 513, 1024, 5000} {
		to := t.TempDir()
		if err := tree.Extract(t.Context(), bytes.NewReader(whole[:n]), open(t, to), tree.Into{}); err == nil {
			t.Errorf("%d bytes: got no error", n)
		}
		if _, err := os.Lstat(to + "/file"); err == nil {
			t.Errorf("%d bytes: a part of the file is left", n)
		}
	}

	if err := tree.Extract(t.Context(), io.MultiReader(bytes.NewReader(whole), failing{}), open(t, t.TempDir()),
		tree.Into{}); err == nil {
		t.Error("got no error of the reader")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("fails in this test") }

func TestOverwriteKeepsTypes(t *testing.T) {
	dir := &tar.Header{Typeflag: tar.TypeDir, Name: "x", Mode: 0o755}
	file := &tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o600, Linkname: "new"}
	for _, c := range []struct {
		before string
		in     *tar.Header
		want   string
	}{
		{"file", file, ""}, {"dir", dir, ""},
		{"file", dir, "cannot overwrite non-directory with directory"},
		{"dir", file, "cannot overwrite directory with non-directory"},
	} {
		to := t.TempDir()
		if c.before == "dir" {
			must(t, os.MkdirAll(to+"/x/kept", 0o755))
		} else {
			must(t, os.WriteFile(to+"/x", []byte("old"), 0o600))
		}
		h := *c.in
		err := tree.Extract(t.Context(), bytes.NewReader(archive(t, &h)), open(t, to), tree.Into{Strict: true})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s over %s: got %v, want %q", string(c.in.Typeflag), c.before, err, c.want)
		}
		if _, err := os.Lstat(to + "/x/kept"); c.before == "dir" && err != nil {
			t.Error("the directory was replaced")
		}
	}
}

func TestExtractReplacesTypes(t *testing.T) {
	for _, c := range []struct {
		before string
		in     *tar.Header
	}{{"file", &tar.Header{Typeflag: tar.TypeDir, Name: "x", Mode: 0o755}},
		{"dir", &tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "new"}}} {
		to := t.TempDir()
		if c.before == "dir" {
			must(t, os.MkdirAll(to+"/x/deep/er", 0o755))
			must(t, os.WriteFile(to+"/x/deep/file", nil, 0o600))
		} else {
			must(t, os.WriteFile(to+"/x", []byte("old"), 0o600))
		}
		err := tree.Extract(t.Context(), bytes.NewReader(archive(t, c.in)), open(t, to), tree.Into{})
		info, serr := os.Lstat(to + "/x")
		if err != nil || serr != nil || info.IsDir() != (c.in.Typeflag == tar.TypeDir) {
			t.Errorf("%s over %s: got %v, %v", string(c.in.Typeflag), c.before, err, serr)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte("not an archive"))
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/"})
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a/b", Mode: 0o600, Size: 1})
	_, _ = w.Write([]byte("x"))
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		top := t.TempDir()
		must(t, os.Mkdir(top+"/to", 0o755))
		_ = tree.Extract(t.Context(), bytes.NewReader(in), open(t, top+"/to"), tree.Into{})
		if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
			t.Fatalf("got %v, %v", entries, err)
		}
	})
}

// An archive that ends in a header or its padding is damaged, wherever that is. Without its end marker it is
// complete.
func TestCutArchiveIsRefused(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []*tar.Header{{Name: "first", Size: 3, Mode: 0o600},
		{Name: strings.Repeat("long/", 60) + "f", Size: 3, Mode: 0o600, Format: tar.FormatPAX}} {
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte("abc"))
		must(t, err)
	}
	must(t, w.Flush())
	whole := buf.Bytes()
	for n := 0; n < len(whole); n += 64 { // each block is cut at its start and within
		complete := n == 0 || n == 1024 // nothing, or the first file
		err := tree.Extract(t.Context(), bytes.NewReader(whole[:n]), open(t, t.TempDir()), tree.Into{})
		if (err == nil) != complete {
			t.Errorf("%d of %d bytes: got %v", n, len(whole), err)
		}
	}
	must(t, tree.Extract(t.Context(), bytes.NewReader(whole), open(t, t.TempDir()), tree.Into{}),
		w.Close(), tree.Extract(t.Context(), bytes.NewReader(append(buf.Bytes(), make([]byte, 9000)...)),
			open(t, t.TempDir()), tree.Into{}))
}
