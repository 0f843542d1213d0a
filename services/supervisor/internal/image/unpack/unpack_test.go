package unpack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/unpack"
)

func archive(t *testing.T, entries ...*tar.Header) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range entries {
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return &buf
}

// TestEntriesStayInDirectory unpacks archives whose later entries replace directories by
// symlinks.
func TestEntriesStayInDirectory(t *testing.T) {
	testns.NeedRoot(t)
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}

	parent, base := path.Split(outside)
	dir := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o700} }
	file := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
	}
	xattr := dir("a/" + base)
	xattr.PAXRecords = map[string]string{"SCHILY.xattr.user.mark": "x"}
	for name, entries := range map[string][]*tar.Header{
		"whiteout then symlink":           {file("a/.wh." + base), link("a", parent)},
		"two levels":                      {file("a/b/.wh." + base), link("a", path.Dir(path.Clean(parent)))},
		"relative symlink":                {file("a/.wh." + base), link("a", strings.Repeat("../", 30)+parent)},
		"opaque through a symlink":        {link("a", parent), file("a/" + base + "/.wh..wh..opq")},
		"opaque then symlink":             {file("a/.wh..wh..opq"), link("a", outside)},
		"directory then symlink":          {dir("a/" + base), link("a", parent)},
		"attributes through a symlink":    {link("a", parent), xattr},
		"file through a symlink":          {link("a", outside), file("a/new")},
		"hard link to outside":            {link("a", parent), hard("b", "a/"+base)},
		"hard link to symlink, then file": {link("a", outside+"/new"), hard("b", "a"), file("b")},
		"whiteout of the root":            {file(".wh..."), file(".wh..wh..opq")},
	} {
		into := t.TempDir()
		_, err := unpack.Into(t.Context(), archive(t, entries...), into)
		t.Log(name, err)
		info, serr := os.Lstat(outside)
		left, lerr := os.ReadDir(outside)
		n, xerr := unix.Llistxattr(outside, make([]byte, 1000))
		if serr != nil || lerr != nil || xerr != nil || info.Mode().Perm() != 0o755 || len(left) > 0 || n > 0 {
			t.Fatalf("%s: got mode %s, %v, %d bytes of attributes, %v %v %v", name, info.Mode(), left, n, serr, lerr,
				xerr)
		}
	}
}

// TestUnpackKeepsSpareSpace unpacks layers larger than a small disk, in bytes and in files. It
// executes itself in a new mount namespace.
func TestUnpackKeepsSpareSpace(t *testing.T) {
	testns.NeedRoot(t)
	const inside = "UNPACK_TEST_SMALL_DISK"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUnpackKeepsSpareSpace$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}

	files := make([]*tar.Header, 20_000)
	for n := range files {
		files[n] = &tar.Header{Name: fmt.Sprint(n), Typeflag: tar.TypeReg}
	}

	var big bytes.Buffer
	w := tar.NewWriter(&big)
	err := w.WriteHeader(&tar.Header{Name: "big", Typeflag: tar.TypeReg, Mode: 0o644, Size: 64 << 20})
	if err == nil {
		_, err = w.Write(make([]byte, 64<<20))
	}

	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}

	for _, layer := range []*bytes.Buffer{&big, archive(t, files...)} {
		dir := t.TempDir()
		if err := unix.Mount("small", dir, "tmpfs", 0, "size=50m,nr_inodes=10000"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
		if _, err := unpack.Into(t.Context(), layer, dir); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("got %v, want ENOSPC", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "else"), make([]byte, 512<<10), 0o600); err != nil {
			t.Errorf("no space is left for other files: %v", err)
		}
	}
}

func TestWhiteoutMakesDirectoryOpaque(t *testing.T) {
	testns.NeedRoot(t)
	into := t.TempDir()
	layer, err := unpack.Into(t.Context(), archive(t, &tar.Header{Name: "x/.wh.d", Typeflag: tar.TypeReg},
		&tar.Header{Name: "x/d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "x/d/f", Typeflag: tar.TypeReg}), into)
	if err != nil || !slices.Equal(layer.Implied, []string{"x"}) {
		t.Fatalf("got %+v, %v", layer, err)
	}
	value := make([]byte, 8)
	if n, err := unix.Lgetxattr(filepath.Join(into, "x/d"), "trusted.overlay.opaque", value); err != nil ||
		string(value[:n]) != "y" {
		t.Errorf("got %q, %v, want y", value[:max(n, 0)], err)
	}
}
