package beneath_test

import (
	"errors"
	"os"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/beneath"
)

func TestResolveStaysInRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"abs": "/a/b", "up": "../../../a", "a/rel": "b/../b", "loop": "loop",
		"gone": "/no/file", "chain": "a/rel"} {
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	root, err := beneath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()

	for name, want := range map[string]string{"": "/", "/..": "/", "abs": "/a/b", "/up/b": "/a/b", "chain/x": "/a/b/x",
		"abs/../rel": "/a/b", "gone": "/no/file", "../../etc": "/etc"} {
		if got, err := root.Resolve(name); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := root.Resolve("loop/x"); !errors.Is(err, beneath.ErrLoop) {
		t.Errorf("got %q, %v", got, err)
	}
}
