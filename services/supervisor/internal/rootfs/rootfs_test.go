package rootfs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// layer creates a directory with files.
func layer(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mount(t testing.TB, r *rootfs.RootFS, uid string, lowers []string) string {
	t.Helper()
	path, err := r.Mount(context.Background(), uid, lowers)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHigherLayerHidesLower(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		low := layer(t, filepath.Join(dir, "low"), map[string]string{"a": "low", "b": "low", "etc/x": "low"})
		high := layer(t, filepath.Join(dir, "high"), map[string]string{"b": "high", "etc/y": "high"})
		r := rootfs.New(filepath.Join(dir, "containers"))
		at := mount(t, r, id.New(), []string{low, high})
		for name, want := range map[string]string{"a": "low", "b": "high", "etc/x": "low", "etc/y": "high"} {
			if got := read(t, filepath.Join(at, name)); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}

		if fi, err := os.Stat(at); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("root directory: got %v, %v; want mode 0755", fi.Mode(), err)
		}
	})
}

func TestDuplicateLayerCountsOnTop(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		a := layer(t, filepath.Join(dir, "a"), map[string]string{"f": "a"})
		b := layer(t, filepath.Join(dir, "b"), map[string]string{"f": "b", "g": "b"})
		at := mount(t, rootfs.New(filepath.Join(dir, "containers")), id.New(), []string{a, b, a})
		if f, g := read(t, filepath.Join(at, "f")), read(t, filepath.Join(at, "g")); f != "a" || g != "b" {
			t.Errorf("got f %s and g %s, want a and b", f, g)
		}
	})
}

func TestMountIsIdempotentAndKeepsFiles(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		low := layer(t, filepath.Join(dir, "low"), map[string]string{"a": "low"})
		r, uid := rootfs.New(filepath.Join(dir, "containers")), id.New()
		at := mount(t, r, uid, []string{low})
		layer(t, at, map[string]string{"a": "mine"})
		if again := mount(t, r, uid, []string{low}); again != at {
			t.Errorf("got mount point %s, then %s", at, again)
		}

		if n := strings.Count(read(t, "/proc/thread-self/mountinfo"), " "+at+" "); n != 1 {
			t.Errorf("got %d mounts, want 1", n)
		}

		for range 2 {
			if err := r.Unmount(uid); err != nil {
				t.Fatal(err)
			}
		}

		if _, err := os.Stat(filepath.Join(at, "a")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after unmounting: got %v, want not exist", err)
		}

		mount(t, r, uid, []string{low})
		if got := read(t, filepath.Join(at, "a")); got != "mine" {
			t.Errorf("after mounting again: got a %q, want mine", got)
		}

		if got := read(t, filepath.Join(low, "a")); got != "low" {
			t.Errorf("layer was changed to %q", got)
		}
	})
}

func TestMountedListsContainers(t *testing.T) {
	testmnt.Do(t, func() {
		dir := filepath.Join(t.TempDir(), "with space")
		low := layer(t, filepath.Join(dir, "low"), nil)
		if err := os.MkdirAll(low, 0o755); err != nil {
			t.Fatal(err)
		}

		r := rootfs.New(filepath.Join(dir, "containers"))
		want := []string{id.New(), id.New(), id.New()}
		for _, uid := range want {
			mount(t, r, uid, []string{low})
		}

		if err := r.Unmount(want[1]); err != nil {
			t.Fatal(err)
		}

		want = slices.Delete(want, 1, 2)
		got, err := r.Mounted()
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Mounted: got %v, %v; want %v", got, err, want)
		}

		link := filepath.Join(t.TempDir(), "link") // a data root on another file system
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		got, err = rootfs.New(filepath.Join(link, "containers")).Mounted()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Mounted by a symbolic link: got %v, %v; want %v", got, err, want)
		}
	})
}

func TestRemoveWithStackedAndBusyMounts(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		low := layer(t, filepath.Join(dir, "low"), map[string]string{"a": "low"})
		r, uid := rootfs.New(filepath.Join(dir, "containers")), id.New()
		at := mount(t, r, uid, []string{low})
		home := filepath.Dir(at)
		layer(t, at, map[string]string{"deep/er/file": "x"})
		// A foreign mount in the directory, with another one stacked on it.
		for _, target := range []string{home + "/upper/deep", home + "/upper/deep"} {
			if err := unix.Mount("none", target, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}

		open, err := os.Open(filepath.Join(at, "a")) // the mount is in use
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		for range 2 {
			if err := r.Remove(uid); err != nil {
				t.Fatal(err)
			}
		}

		if _, err := os.Lstat(home); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("directory still exists: %v", err)
		}

		if got, err := r.Mounted(); err != nil || len(got) > 0 {
			t.Errorf("Mounted: got %v, %v; want none", got, err)
		}
	})
}

func TestRemoveDeletesImmutableFiles(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		r, uid := rootfs.New(filepath.Join(dir, "containers")), id.New()
		at := mount(t, r, uid, nil)
		layer(t, at, map[string]string{"d/file": "x"})
		for _, path := range []string{"d/file", "d"} {
			if err := setImmutable(filepath.Join(filepath.Dir(at), "upper", path)); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip("needs a file system with immutable files: ", err)
			}
		}

		if err := r.Remove(uid); err != nil {
			t.Fatal(err)
		}
	})
}

func setImmutable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x10)
}

func TestMissingLayerIsReported(t *testing.T) {
	testmnt.Do(t, func() {
		dir := t.TempDir()
		r, uid := rootfs.New(filepath.Join(dir, "containers")), id.New()
		_, err := r.Mount(context.Background(), uid, []string{filepath.Join(dir, "gone")})
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), filepath.Join(dir, "gone")) {
			t.Errorf("got %v; want an Unavailable fault with the directory", err)
		}
		if got, err := r.Mounted(); err != nil || len(got) > 0 {
			t.Errorf("Mounted: got %v, %v; want none", got, err)
		}
	})
}

func TestInvalidContainerIDIsRejected(t *testing.T) {
	r := rootfs.New(t.TempDir())
	for _, bad := range []string{"", "..", "../../etc", strings.Repeat("A", id.Len)} {
		_, err := r.Mount(context.Background(), bad, nil)
		for what, err := range map[string]error{"Mount": err, "Unmount": r.Unmount(bad), "Remove": r.Remove(bad)} {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s(%q): got %v, want an Invalid fault", what, bad, err)
			}
		}
	}
}
