package disk_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/disk"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

// fakeImages has three images with layers of 1, 10, 100 and 1000 bytes. A container uses the first.
type fakeImages struct{}

func (fakeImages) List() []*store.Image {
	return []*store.Image{{ID: "first", Layers: []string{"1", "10", "1"}}, {ID: "second", Layers: []string{"1", "100"}},
		{ID: "third", Layers: []string{"1000"}}}
}

func (fakeImages) Containers(img *store.Image) int { return map[string]int{"first": 2}[img.ID] }

func (fakeImages) LayerSize(diffID string) int64 {
	return map[string]int64{"1": 1, "10": 10, "100": 100, "1000": 1000}[diffID]
}

type fakeVolumes struct{}

func (fakeVolumes) List() []*volume.Volume { return []*volume.Volume{{Name: "data"}, {Name: "broken"}} }

func (fakeVolumes) Size(_ context.Context, name string) (int64, error) {
	if name == "broken" {
		return 0, errors.New("cannot be read")
	}
	return 7, nil
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "file"), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "unchanged", "etc"), 0o700); err != nil { // a mount point
		t.Fatal(err)
	}
	f := &fake{list: []*container.Container{stored("a", container.Running, 0, nil),
		stored("unchanged", container.Exited, 0, nil), stored("never", container.Created, 0, nil)}}
	d := disk.New(disk.Config{Containers: f, Images: fakeImages{}, Volumes: fakeVolumes{},
		Upper: func(uid string) string { return filepath.Join(dir, uid) }})

	u, err := d.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.Layers != 1111 || u.UnusedLayers != 1100 {
		t.Errorf("got %d and %d bytes of layers, want 1111 and 1100", u.Layers, u.UnusedLayers)
	}
	if want := map[string]int64{"first": 1, "second": 1, "third": 0}; !maps.Equal(u.Shared, want) {
		t.Errorf("got shared %v, want %v", u.Shared, want)
	}
	if got := u.Containers["a"]; got < 64<<10 || got >= 128<<10 ||
		u.Containers["never"]+u.Containers["unchanged"] != 0 {
		t.Errorf("got containers %v", u.Containers)
	}
	if want := map[string]int64{"data": 7, "broken": -1}; !maps.Equal(u.Volumes, want) {
		t.Errorf("got volumes %v, want %v", u.Volumes, want)
	}

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Measure(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the error of the context", err)
	}
}
