package rootfs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs/testmnt"
)

func TestMountManyLayers(t *testing.T) {
	for _, n := range []int{0, 1, 2, 51, 120, 400} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			testmnt.Do(t, func() { mountLayers(t, n) })
		})
	}
}

// mountLayers mounts n layers, or checks the error of an older kernel.
func mountLayers(t *testing.T, n int) {
	dir := t.TempDir()
	var lowers []string
	for i := range n {
		path := filepath.Join(dir, "layers", fmt.Sprintf("%064d", i), "fs")
		lowers = append(lowers, layer(t, path, map[string]string{fmt.Sprint(i): "x", "last": fmt.Sprint(i)}))
	}

	at, err := rootfs.New(filepath.Join(dir, "containers")).Mount(context.Background(), id.New(), lowers)
	if n > 120 && !kernelTakesEachLayer(t) {
		if want := fmt.Sprintf("cannot mount %d layers with this kernel", n); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
		return
	}

	if err != nil {
		t.Fatal(err)
	}

	entries, err := os.ReadDir(at)
	if want := n + min(n, 1); err != nil || len(entries) != want {
		t.Fatalf("got %d files, %v; want %d", len(entries), err, want)
	}
	if n > 0 && read(t, filepath.Join(at, "last")) != fmt.Sprint(n-1) {
		t.Errorf("got topmost layer %s, want %d", read(t, filepath.Join(at, "last")), n-1)
	}

	if err := os.WriteFile(filepath.Join(at, "new"), nil, 0o644); err != nil {
		t.Error(err)
	}
}

// kernelTakesEachLayer reports whether the kernel accepts each layer as a parameter (since Linux
// 6.8).
func kernelTakesEachLayer(t *testing.T) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 8
}
