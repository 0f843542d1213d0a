package volumes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// rootWith returns a root file system with files in /srv, which has mode 0711.
func rootWith(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "srv"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(root, "srv", name), content)
	}
	if err := os.Chmod(filepath.Join(root, "srv"), 0o711); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestFillCopiesToEmptyVolumeOnly(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, nil)
	root := rootWith(t, map[string]string{"letter": "of the image", "deep/er/note": "n"})
	for _, c := range []struct{ target, letter string }{
		{"/srv", "dear"}, // the volume has content
		{"/nosuch", ""},
		{"/srv", "of the image"},
		{"/srv", "of the image"}, // again
	} {
		if c.letter == "" {
			if err := os.Remove(filepath.Join(f.Path("data"), "letter")); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Fill(t.Context(), "data", root, c.target); err != nil {
			t.Fatalf("%s: %v", c.target, err)
		}
		if c.letter == "" {
			wantEntries(t, f.Path("data"))
			continue
		}
		wantContent(t, filepath.Join(f.Path("data"), "letter"), c.letter)
	}

	wantContent(t, filepath.Join(f.Path("data"), "deep/er/note"), "n")
	wantEntries(t, filepath.Dir(f.Path("data")), "_data")
	if info, err := os.Stat(f.Path("data")); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("got mode %v, %v, want that of the image", info.Mode(), err)
	}
}

func TestFillCopiesAttributesOfEmptyDirectory(t *testing.T) {
	f := newFixture(t)
	f.create(t, "empty", nil, nil)
	if err := os.Remove(filepath.Join(f.Path("empty"), "letter")); err != nil {
		t.Fatal(err)
	}
	root := rootWith(t, nil)
	if err := os.Chown(filepath.Join(root, "srv"), 7, 8); err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), "empty", root, "/srv"); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(f.Path("empty"), &st); err != nil || st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o711 {
		t.Errorf("got owner %d:%d, mode %o, %v, want 7:8 and 711", st.Uid, st.Gid, st.Mode&0o7777, err)
	}
	wantEntries(t, filepath.Dir(f.Path("empty")), "_data")
}

// A symlink of the image refers to the root file system of the container, not to the host.
func TestFillStaysInRootFilesystem(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, nil)
	if err := os.Remove(filepath.Join(f.Path("data"), "letter")); err != nil {
		t.Fatal(err)
	}
	host := t.TempDir()
	write(t, filepath.Join(host, "sub/secret"), "s")
	root := rootWith(t, nil)
	if err := os.Symlink(host, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	if err := f.Fill(t.Context(), "data", root, "/out/sub"); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, f.Path("data"))
}

// A crash during a copy leaves .copy, one after it .ready. Files that a container has meanwhile written
// are kept.
func TestInterruptedCopy(t *testing.T) {
	f := newFixture(t)
	f.create(t, "partial", nil, nil)
	f.create(t, "complete", nil, nil)
	write(t, filepath.Join(f.DataRoot, "volumes/partial/.copy/half"), "of it")
	ready := filepath.Join(f.DataRoot, "volumes/complete/.ready")
	write(t, filepath.Join(ready, "letter"), "of the image")
	write(t, filepath.Join(ready, "deep/note"), "n")
	if err := os.Chmod(ready, 0o711); err != nil {
		t.Fatal(err)
	}

	f.restart(t)
	wantEntries(t, filepath.Join(f.DataRoot, "volumes/partial"), "_data")
	wantEntries(t, f.Path("partial"), "letter")
	wantEntries(t, filepath.Join(f.DataRoot, "volumes/complete"), "_data")
	wantEntries(t, f.Path("complete"), "deep", "letter")
	wantContent(t, filepath.Join(f.Path("complete"), "letter"), "dear")
	wantContent(t, filepath.Join(f.Path("complete"), "deep/note"), "n")
	if info, err := os.Stat(f.Path("complete")); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("got mode %v, %v, want that of the copy", info.Mode(), err)
	}
}

// A copy that does not fit on the disk leaves the volume empty, and is repeated in full later.
func TestFailedCopyLeavesVolumeEmpty(t *testing.T) {
	testmnt.Do(t, func() {
		disk := t.TempDir()
		if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
			t.Fatal(err)
		}
		f := newFixtureAt(t, disk)
		f.create(t, "data", nil, nil)
		if err := os.Remove(filepath.Join(f.Path("data"), "letter")); err != nil {
			t.Fatal(err)
		}
		root := rootWith(t, map[string]string{"a": "first", "b": strings.Repeat("x", 1<<20)})
		if err := f.Fill(t.Context(), "data", root, "/srv"); !fault.Is(err, fault.Exhausted) {
			t.Errorf("got %v, want exhausted", err)
		}
		wantEntries(t, f.Path("data"))
		wantEntries(t, filepath.Dir(f.Path("data")), "_data")

		if err := unix.Mount("", disk, "", unix.MS_REMOUNT, "size=4m"); err != nil {
			t.Fatal(err)
		}
		if err := f.Fill(t.Context(), "data", root, "/srv"); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, f.Path("data"), "a", "b")
	})
}
