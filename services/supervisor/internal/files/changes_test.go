package files

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

func TestDifferFindsChanges(t *testing.T) {
	lower, top, upper := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{lower + "/etc", lower + "/old/in", top + "/old", upper + "/etc", upper + "/old",
		upper + "/new/dir", upper + "/proc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{lower + "/etc/conf", lower + "/gone", lower + "/hidden", upper + "/etc/conf",
		upper + "/etc/hosts", upper + "/new/file", upper + "/hidden"} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, whiteout := range []string{upper + "/gone", upper + "/never", top + "/hidden"} {
		if err := unix.Mknod(whiteout, unix.S_IFCHR, 0); err != nil {
			t.Fatal(err)
		}
	}

	d := differ{ctx: t.Context()}
	defer d.close()
	for _, dir := range []string{top, lower} {
		root, err := beneath.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		d.lowers = append(d.lowers, root)
	}
	root, err := beneath.Open(upper)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if _, err := d.directory(root, "/", 0); err != nil {
		t.Fatal(err)
	}

	want := []Change{{"/etc", Changed}, {"/etc/conf", Changed}, {"/gone", Deleted}, {"/hidden", Added}, {"/new", Added},
		{"/new/dir", Added}, {"/new/file", Added}}
	slices.SortFunc(d.out, func(a, b Change) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	if !slices.Equal(d.out, want) {
		t.Errorf("got %v, want %v", d.out, want)
	}
}
