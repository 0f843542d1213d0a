package bindsource_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/bindsource"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Sources are created only when that was requested, and Remove leaves directories with files.
func TestMissingSourcesAreCreated(t *testing.T) {
	dir := t.TempDir()
	used, empty := filepath.Join(dir, "used", "below"), filepath.Join(dir, "empty", "below")
	mounts := []container.Mount{{Type: container.Bind, Source: used, CreateSource: true},
		{Type: container.Bind, Source: empty, CreateSource: true}}
	missing := container.Config{Mounts: []container.Mount{{Type: container.Bind, Source: used}}}
	if err := bindsource.Check(&missing); err == nil {
		t.Error("missing source: got no error")
	}
	created, err := bindsource.Create(mounts)
	if err != nil || len(created) != 4 || bindsource.Check(&missing) != nil {
		t.Fatalf("got %q, %v", created, err)
	}

	file := filepath.Join(used, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	created.Remove()
	if _, err := os.Stat(filepath.Dir(empty)); !os.IsNotExist(err) {
		t.Errorf("empty directory: got %v", err)
	}
	if !bindsource.IsFile(file) || bindsource.IsFile(used) {
		t.Error("the file or its directory is not as before")
	}
}
