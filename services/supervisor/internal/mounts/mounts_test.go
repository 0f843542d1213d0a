package mounts_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/supervisor/internal/mounts"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

func TestDetachUnder(t *testing.T) {
	dir := t.TempDir()
	testmnt.Do(t, func() {
		other, outer := filepath.Join(dir, "build2"), filepath.Join(dir, "build", "a b")
		inner := filepath.Join(outer, "in")
		for _, at := range []string{other, outer, inner, inner} { // the last hides the one before
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}
		busy, err := os.Create(filepath.Join(inner, "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer busy.Close()

		if got, err := mounts.Under(filepath.Join(dir, "build")); err != nil ||
			!slices.Equal(got, []string{outer, inner, inner}) {
			t.Errorf("got %v, %v", got, err)
		}
		if err := mounts.DetachUnder(filepath.Join(dir, "build")); err != nil {
			t.Error(err)
		}
		if got, err := mounts.Under(dir); err != nil || !slices.Equal(got, []string{other}) {
			t.Errorf("got %v, %v; want the other mount only", got, err)
		}
		if err := mounts.DetachUnder(filepath.Join(dir, "nosuch")); err != nil {
			t.Error(err)
		}
	})
}
