package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

// overlayDirs creates an overlay of n layers, each with a file named by its number.
func overlayDirs(t *testing.T, dir string, n int) *overlay {
	t.Helper()
	o := &overlay{upper: filepath.Join(dir, "upper"), work: filepath.Join(dir, "work")}
	for i := range n {
		o.lowers = append(o.lowers, filepath.Join(dir, "layers", fmt.Sprintf("%064d", i), "fs"))
	}

	for i, path := range append([]string{o.upper, o.work, filepath.Join(dir, "merged")}, o.lowers...) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if i > 2 {
			if err := os.WriteFile(filepath.Join(path, fmt.Sprint(i-3)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}

	return o
}

func TestMountByOptionsManyLayers(t *testing.T) {
	for _, n := range []int{1, 120} {
		testmnt.Do(t, func() {
			dir := t.TempDir()
			o := overlayDirs(t, dir, n)
			if err := o.mountByOptions(filepath.Join(dir, "merged")); err != nil {
				t.Fatal(err)
			}
			if entries, err := os.ReadDir(filepath.Join(dir, "merged")); err != nil || len(entries) != n {
				t.Errorf("got %d files, %v; want %d", len(entries), err, n)
			}
		})
	}
}

func TestMountFallsBackForLongPaths(t *testing.T) {
	testmnt.Do(t, func() {
		dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120), strings.Repeat("y", 120))
		o := overlayDirs(t, dir, 3)
		if o.fitsParameters() {
			t.Fatal("the paths are too short for this test")
		}
		if err := o.mount(filepath.Join(dir, "merged")); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(filepath.Join(dir, "merged")); err != nil || len(entries) != 3 {
			t.Errorf("got %d files, %v; want 3", len(entries), err)
		}
	})
}

func TestUnknownParameter(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{&errStep{"fsopen overlay", unix.ENOSYS}, true},
		{&errStep{lowerStep, unix.EINVAL}, true},
		{&errStep{lowerStep, unix.ENOENT}, false},
		{&errStep{createStep, unix.EINVAL}, true},
		{&errStep{createStep, unix.ENOENT}, false},
		{unix.EINVAL, false},
	} {
		if got := unknownParameter(tc.err); got != tc.want {
			t.Errorf("%v: got %v, want %v", tc.err, got, tc.want)
		}
	}
}
