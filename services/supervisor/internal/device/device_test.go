package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/null", link} {
		got, err := Find("container web", path, "/dev/x")
		if err != nil || len(got) != 1 || got[0].Path != "/dev/x" || got[0].Type != "c" || got[0].Major != 1 ||
			got[0].Minor != 3 {
			t.Errorf("%s: got %v, %v, want 1:3 as /dev/x", path, got, err)
		}
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir, filepath.Join(dir, "nosuch")} {
		if got, err := Find("container web", path, "/dev/x"); err == nil ||
			!strings.HasPrefix(err.Error(), "container web: error gathering device information") {
			t.Errorf("%s: got %v, %v, want an error", path, got, err)
		}
	}
}

func TestDirectoryHasItsDevices(t *testing.T) {
	got, err := Find("container web", "/dev/net/../", "/dev/all")
	if err != nil || len(got) == 0 {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, n := range got {
		if !strings.HasPrefix(n.Path, "/dev/all/") {
			t.Errorf("got the path %s, want one below /dev/all", n.Path)
		}
	}
}

func TestAllOmitsDevicesOfEachContainer(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range All() {
		seen[n.Path] = true
		if strings.HasPrefix(n.Path, "/dev/pts/") || n.Path == "/dev/console" {
			t.Errorf("got %s", n.Path)
		}
	}
	if !seen["/dev/null"] {
		t.Error("/dev/null is missing")
	}
}

func TestBlockRejectsOtherFiles(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/nosuch", "/dev"} {
		if n, err := Block("container web", "device-read-bps", path); err == nil {
			t.Errorf("%s: got %v, want an error", path, n)
		}
	}
}
