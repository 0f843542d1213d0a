package volumes_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// mounts returns how many file systems are mounted below a path in the namespace of this thread.
func mounts(t *testing.T, path string) (n int) {
	t.Helper()
	all, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		if at := strings.Fields(line)[4]; at == path || strings.HasPrefix(at, path+"/") {
			n++
		}
	}
	return n
}

func wantMounts(t *testing.T, path string, want int) {
	t.Helper()
	if got := mounts(t, path); got != want {
		t.Errorf("%s: got %d mounts, want %d", filepath.Base(path), got, want)
	}
}

func bindOf(dir, options string) map[string]string {
	return map[string]string{"type": "none", "device": dir, "o": options}
}

func never(string) bool { return false }

// A volume with options is mounted once, unmounted once no container uses it, and its removal keeps what
// was mounted.
func TestVolumeWithOptions(t *testing.T) {
	testmnt.Do(t, func() {
		f, dir := newFixture(t), t.TempDir()
		write(t, filepath.Join(dir, "letter"), "dear")
		f.create(t, "share", bindOf(dir, "bind"), nil)
		f.create(t, "plain", nil, nil)
		wantMounts(t, f.DataRoot, 0)
		for range 2 {
			if path, err := f.Acquire(t.Context(), "share"); err != nil || path != f.Path("share") {
				t.Fatalf("got %q, %v", path, err)
			}
		}
		wantMounts(t, f.Path("share"), 1)
		wantContent(t, filepath.Join(f.Path("share"), "letter"), "dear")

		if got := f.Mounted(); !slices.Equal(got, []string{"share"}) {
			t.Errorf("got %q with options", got)
		}
		if size, err := f.Size(t.Context(), "share"); size != 0 || err != nil {
			t.Errorf("size: got %d, %v", size, err)
		}

		var asked []string
		busy := func(name string) bool { asked = append(asked, name); return true }
		names := []string{"plain", "nosuch", "share"}
		if err := f.Release(t.Context(), names, busy); err != nil || !slices.Equal(asked, []string{"share"}) {
			t.Errorf("release in use: got %v, asked for %q", err, asked)
		}
		wantMounts(t, f.Path("share"), 1)
		if err := f.Release(t.Context(), names, never); err != nil {
			t.Error(err)
		}
		wantMounts(t, f.Path("share"), 0)

		if _, err := f.Acquire(t.Context(), "share"); err != nil {
			t.Fatal(err)
		}
		if err := f.Remove(t.Context(), "share"); err != nil {
			t.Error(err)
		}
		wantMounts(t, f.DataRoot, 0)
		wantEntries(t, filepath.Join(f.DataRoot, "volumes"), "plain")
		wantContent(t, filepath.Join(dir, "letter"), "dear")
	})
}

// Neither a kernel without the file system nor wrong options leave a mount.
func TestFailedMountNamesCause(t *testing.T) {
	testmnt.Do(t, func() {
		f := newFixture(t)
		for name, c := range map[string]struct {
			options    map[string]string
			cause      error
			hint, text string
		}{
			"far": {map[string]string{"type": "nosuchfs", "device": ":/export", "o": "addr=192.0.2.1,nolock"},
				unix.ENODEV,
				"modprobe nosuchfs", "mount :/export:"},
			"odd": {map[string]string{"type": "tmpfs", "device": "none", "o": "size=much"}, unix.EINVAL,
				"fairlead volume inspect odd", "mount none:"},
		} {
			f.create(t, name, c.options, nil)
			_, err := f.Acquire(t.Context(), name)
			got, ok := errors.AsType[*fault.Fault](err)
			if !ok || !errors.Is(err, c.cause) || !strings.Contains(got.Hint, c.hint) ||
				!strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: got %v", name, err)
			}
			wantMounts(t, f.Path(name), 0)
		}
	})
}

// A crash during a removal leaves the mount. The next agent unmounts before it deletes.
func TestInterruptedRemovalKeepsMountedData(t *testing.T) {
	testmnt.Do(t, func() {
		f, dir := newFixture(t), t.TempDir()
		write(t, filepath.Join(dir, "deep/letter"), "dear")
		f.create(t, "share", bindOf(dir, "bind"), nil)
		if _, err := f.Acquire(t.Context(), "share"); err != nil {
			t.Fatal(err)
		}
		if err := f.Store.MarkVolume("share"); err != nil {
			t.Fatal(err)
		}
		f.restart(t)
		wantMounts(t, f.DataRoot, 0)
		wantEntries(t, filepath.Join(f.DataRoot, "volumes"))
		wantContent(t, filepath.Join(dir, "deep/letter"), "dear")
	})
}

// What an administrator mounted in a volume is not deleted. The volume stays marked, and is removed once
// that is unmounted; others are pruned meanwhile.
func TestForeignMountIsKept(t *testing.T) {
	testmnt.Do(t, func() {
		f, dir := newFixture(t), t.TempDir()
		write(t, filepath.Join(dir, "letter"), "dear")
		f.create(t, "data", nil, nil)
		f.create(t, "other", nil, nil)
		at := filepath.Join(f.Path("data"), "mnt")
		if err := errors.Join(os.Mkdir(at, 0o755), unix.Mount(dir, at, "", unix.MS_BIND, "")); err != nil {
			t.Fatal(err)
		}

		deleted, _, err := f.Prune(t.Context(), volume.Selection{All: true})
		if err == nil || !slices.Equal(deleted, []string{"other"}) {
			t.Errorf("prune: got %q, %v", deleted, err)
		}
		wantContent(t, filepath.Join(dir, "letter"), "dear")
		if got := f.names(); !slices.Equal(got, []string{"data"}) {
			t.Errorf("got records %q", got)
		}

		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		if err := f.RemoveMarked(t.Context()); err != nil || len(f.names()) > 0 {
			t.Errorf("later: got %q, %v", f.names(), err)
		}
		wantContent(t, filepath.Join(dir, "letter"), "dear")
	})
}

func TestMountOptionsAreApplied(t *testing.T) {
	testmnt.Do(t, func() {
		f := newFixture(t)
		f.create(t, "ro", bindOf(t.TempDir(), "bind,ro"), nil)
		if _, err := f.Acquire(t.Context(), "ro"); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(filepath.Join(f.Path("ro"), "x"), nil, 0o600)
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("write to a read-only volume: got %v", err)
		}

		f.create(t, "mem", map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=0710"}, nil)
		if _, err := f.Acquire(t.Context(), "mem"); err != nil {
			t.Fatal(err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(f.Path("mem"), &st); err != nil || st.Blocks*uint64(st.Bsize) != 64<<10 {
			t.Errorf("got %d blocks of %d bytes, %v", st.Blocks, st.Bsize, err)
		}
	})
}

func TestFailedMountLeavesNothing(t *testing.T) {
	testmnt.Do(t, func() {
		f := newFixture(t)
		f.create(t, "share", bindOf("/nosuch/directory", "bind"), nil)
		_, err := f.Acquire(t.Context(), "share")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/nosuch/directory") {
			t.Errorf("got %v, want the device", err)
		}
		wantMounts(t, f.DataRoot, 0)
		if err := f.Remove(t.Context(), "share"); err != nil {
			t.Error(err)
		}
	})
}

func TestSubpathIsBoundNextToItsVolume(t *testing.T) {
	testmnt.Do(t, func() {
		f := newFixture(t)
		f.create(t, "data", nil, nil)
		write(t, filepath.Join(f.Path("data"), "sub/note"), "n")
		if err := os.Symlink("/etc", filepath.Join(f.Path("data"), "out")); err != nil {
			t.Fatal(err)
		}
		for path, content := range map[string]string{"sub": "n", "letter": "dear"} {
			at, unbind, err := volumes.BindSubpath(f.Path("data"), path, "c1-0")
			if err != nil {
				t.Fatal(err)
			}
			file, err := volumes.IsFile(f.Path("data"), path)
			if err != nil || file != (path == "letter") {
				t.Errorf("%s: got file %v, %v", path, file, err)
			}
			if !file {
				at = filepath.Join(at, "note")
			}
			wantContent(t, at, content)
			if err := unbind(); err != nil {
				t.Error(err)
			}
			wantMounts(t, f.DataRoot, 0)
			wantEntries(t, filepath.Dir(f.Path("data")), "_data")
		}

		for _, path := range []string{"nosuch", "out/passwd", "../../../etc"} {
			if at, _, err := volumes.BindSubpath(f.Path("data"), path, "c1-0"); err == nil {
				t.Errorf("%s: got %s", path, at)
			}
		}
		wantEntries(t, filepath.Dir(f.Path("data")), "_data")
	})
}

// A crash while the runtime mounts a subpath leaves its bind. It is replaced, unmounted at the next start
// of the agent, and before a removal; the data is never deleted through it.
func TestLeftSubpathIsUnmounted(t *testing.T) {
	testmnt.Do(t, func() {
		f := newFixtureAt(t, filepath.Join(t.TempDir(), "[a]*")) // not a pattern
		f.create(t, "data", nil, nil)
		write(t, filepath.Join(f.Path("data"), "sub/note"), "n")
		bind := func(path string) string {
			at, _, err := volumes.BindSubpath(f.Path("data"), path, "c1-0")
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		bind("letter")
		at := bind("sub") // of another kind, at the same place
		wantMounts(t, f.DataRoot, 1)
		wantContent(t, filepath.Join(at, "note"), "n")

		f.restart(t)
		wantMounts(t, f.DataRoot, 0)
		wantEntries(t, filepath.Dir(f.Path("data")), "_data")
		wantContent(t, filepath.Join(f.Path("data"), "sub/note"), "n")

		bind("sub")
		if err := f.Remove(t.Context(), "data"); err != nil {
			t.Error(err)
		}
		wantMounts(t, f.DataRoot, 0)
		wantEntries(t, filepath.Join(f.DataRoot, "volumes"))
	})
}
