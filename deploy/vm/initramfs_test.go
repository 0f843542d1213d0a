package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// depFile is a modules.dep of depmod: all dependencies of each module, in reverse load order.
const depFile = `kernel/a.ko: kernel/b.ko kernel/c.ko
kernel/b.ko: kernel/c.ko
kernel/c.ko:
kernel/d.ko: kernel/c.ko
`

func TestModulesFollowDependencies(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(depFile), 0o600); err != nil {
		t.Fatal(err)
	}

	got, err := modules(dir, []string{"a", "d"})
	want := []string{"kernel/c.ko", "kernel/b.ko", "kernel/a.ko", "kernel/d.ko"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}

	if _, err := modules(dir, []string{"z"}); err == nil {
		t.Error("unknown module: got no error")
	}
}
