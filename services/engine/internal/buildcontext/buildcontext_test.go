package buildcontext_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/tonistiigi/fsutil"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/engine/internal/buildcontext"
)

// archive returns an archive of these headers, whose content is their name.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// names returns the files of a context, with their content.
func names(t *testing.T, c fsutil.FS) (all []string) {
	t.Helper()
	err := c.Walk(t.Context(), "/", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name += "/"
		} else if d.Type().IsRegular() {
			f, err := c.Open(name)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			name += "=" + string(text)
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func file(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }

func TestFilesOfAnArchive(t *testing.T) {
	data := archive(t, file("a/b/c"), file("a-b"), file("./Dockerfile"),
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o700}, file("../outside"), file("a-b"),
		tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "a/b/c"})
	var zipped, zstandard bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(data)
	_ = w.Close()
	z, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write(data)
	_ = z.Close()

	want := []string{"Dockerfile=./Dockerfile", "a/", "a/b/", "a/b/c=a/b/c", "a-b=a-b", "hard=a/b/c", "link",
		"outside=../outside"}
	for what, in := range map[string][]byte{"plain": data, "gzip": zipped.Bytes(), "zstd": zstandard.Bytes()} {
		c, err := buildcontext.Read(bytes.NewReader(in))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, names(t, c)); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		filtered, err := fsutil.NewFilterFS(c, &fsutil.FilterOpt{ExcludePatterns: []string{"a", "!a/b"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(t, filtered), " "); !strings.Contains(got, "a/b/c=a/b/c") {
			t.Errorf("%s: got %s of a filter", what, got)
		}
		if _, err := c.Open("link"); err == nil {
			t.Error("a link was followed")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWalkSkips(t *testing.T) {
	c, err := buildcontext.Read(bytes.NewReader(archive(t, file("a/1"), file("a/2"), file("b/1"), file("c"))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var got []string
	err = c.Walk(t.Context(), "", func(name string, _ fs.DirEntry, _ error) error {
		got = append(got, name)
		switch name {
		case "a/1", "b":
			return fs.SkipDir
		case "c":
			return fs.SkipAll
		}
		return nil
	})
	if d := cmp.Diff([]string{"a", "a/1", "b", "c"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c.Walk(ctx, "", func(string, fs.DirEntry, error) error { return nil }) == nil {
		t.Error("got no error of a canceled walk")
	}
}

// TestSparseFilesAreRefused: their content is not in one piece, so that it cannot be sent from its place.
func TestSparseFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "holes"), []byte("start"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "holes"), 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command("tar", "-C", dir, "-cS", "--format="+format, "holes").Output()
		if err != nil {
			t.Fatal(err)
		}
		_, err = buildcontext.Read(bytes.NewReader(data))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"holes" is stored as a sparse file`) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

func TestBrokenArchives(t *testing.T) {
	for what, in := range map[string]string{"text": strings.Repeat("no archive ", 200), "xz": "\xfd7zXZ\x00",
		"gzip": "\x1f\x8b\x00", "link": string(archive(t, tar.Header{Name: "x", Typeflag: tar.TypeLink,
			Linkname: "nosuch"}))} {
		if _, err := buildcontext.Read(strings.NewReader(in)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	c, err := buildcontext.Read(strings.NewReader(""))
	if err != nil || len(names(t, c)) != 0 {
		t.Errorf("got %v of an empty archive", err)
	}
}
