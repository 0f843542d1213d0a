package volumes_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// fixture has volumes on a store of its own.
type fixture struct {
	*volumes.Volumes
	state  string // directory of the store
	events *events.Subscription
}

func newFixture(t *testing.T) *fixture { return newFixtureAt(t, t.TempDir()) }

// newFixtureAt keeps the files of volumes below root.
func newFixtureAt(t *testing.T, root string) *fixture {
	t.Helper()
	f := &fixture{state: t.TempDir()}
	f.open(t, root)
	t.Cleanup(func() { _ = f.Store.Close() })
	return f
}

func (f *fixture) open(t *testing.T, root string) {
	t.Helper()
	s, err := store.Open(f.state)
	if err != nil {
		t.Fatal(err)
	}
	broker := &events.Broker{}
	if f.events, err = broker.Subscribe(time.Time{}); err != nil {
		t.Fatal(err)
	}
	f.Volumes = volumes.New(volumes.Config{DataRoot: root, Store: s, Events: broker,
		Log: slog.New(slog.DiscardHandler)})
}

// restart replaces the agent by a new one with the same store and files, and restores.
func (f *fixture) restart(t *testing.T) {
	t.Helper()
	if err := f.Store.Close(); err != nil {
		t.Fatal(err)
	}
	f.open(t, f.DataRoot)
	if err := f.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// create creates a volume, with a file unless it has options.
func (f *fixture) create(t *testing.T, name string, options, labels map[string]string) {
	t.Helper()
	v, err := volume.New(name, "", options, labels, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if len(options) == 0 {
		write(t, filepath.Join(f.Path(name), "letter"), "dear")
	}
}

// use stores a container that is not running and uses a volume.
func (f *fixture) use(t *testing.T, uid, name string) {
	t.Helper()
	if _, err := f.Store.AddImages(&store.Image{ID: "sha256:00"}); err != nil {
		t.Fatal(err)
	}
	err := f.Store.AddContainer(&container.Container{ID: uid, ImageID: "sha256:00", Status: container.Created,
		Config: container.Config{Name: uid,
			Mounts: []container.Mount{{Type: container.VolumeMount, Source: name, Target: "/data"}}}})
	if err != nil {
		t.Fatal(err)
	}
}

// took returns the actions and names of the events until now.
func (f *fixture) took(t *testing.T) (out []string) {
	t.Helper()
	f.Events.Emit(events.Volume, "end", "", nil)
	for {
		e, err := f.events.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Action == "end" {
			return out
		}
		out = append(out, e.Action+" "+e.ID)
	}
}

func (f *fixture) names() (out []string) {
	for _, v := range f.List() {
		out = append(out, v.Name)
	}
	return out
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

// wantEntries checks the names in a directory; a missing directory has none.
func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got entries %q, want %q", filepath.Base(dir), got, want)
	}
}

func TestCreateIsIdempotent(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, map[string]string{"a": "1"})
	if info, err := os.Stat(f.Path("data")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("directory: got %v, %v", info.Mode(), err)
	}

	again, err := f.Create(t.Context(), &volume.Volume{Name: "data", Driver: volume.Local, CreatedAt: time.Unix(0, 0)})
	if err != nil || again.Labels["a"] != "1" || again.CreatedAt.Equal(time.Unix(0, 0)) {
		t.Errorf("again: got %+v, %v, want the stored volume", again, err)
	}
	other := &volume.Volume{Name: "data", Labels: map[string]string{"a": "2"}}
	if _, err := f.Create(t.Context(), other); !fault.Is(err, fault.Exists) {
		t.Errorf("other labels: got %v", err)
	}

	wantContent(t, filepath.Join(f.Path("data"), "letter"), "dear")
	if got := f.took(t); !slices.Equal(got, []string{"create data"}) {
		t.Errorf("got events %q, want one", got)
	}
}

// A crash between the record and the directory leaves a record alone. The next use creates the directory.
func TestRecordWithoutDirectoryIsUsable(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Store.AddVolume(&volume.Volume{Name: "data", Driver: volume.Local}); err != nil {
		t.Fatal(err)
	}
	f.restart(t)
	if size, err := f.Size(t.Context(), "data"); size != 0 || err != nil {
		t.Errorf("size: got %d, %v", size, err)
	}
	if path, err := f.Acquire(t.Context(), "data"); err != nil || path != f.Path("data") {
		t.Fatalf("got %q, %v", path, err)
	}
	write(t, filepath.Join(f.Path("data"), "letter"), "dear")
	if _, err := f.Acquire(t.Context(), "nosuch"); !fault.Is(err, fault.NotFound) {
		t.Errorf("nosuch: got %v", err)
	}
}

// Neither a removal nor a prune touches the data of a volume that a container uses, running or not.
func TestVolumeInUseKeepsData(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, nil)
	f.use(t, "c1", "data")
	f.use(t, "c2", "data")
	for _, left := range []string{"c1, c2", "c2"} {
		err := f.Remove(t.Context(), "data")
		if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "["+left+"]") {
			t.Errorf("got %v, want the users %s", err, left)
		}
		deleted, reclaimed, err := f.Prune(t.Context(), volume.Selection{All: true})
		if len(deleted) > 0 || reclaimed != 0 || err != nil {
			t.Errorf("prune: got %q, %d, %v", deleted, reclaimed, err)
		}
		f.restart(t)
		wantContent(t, filepath.Join(f.Path("data"), "letter"), "dear")
		if left != "c2" {
			if err := f.Store.DeleteContainer("c1"); err != nil {
				t.Fatal(err)
			}
		}
	}

	if err := f.Store.DeleteContainer("c2"); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context(), "data"); err != nil {
		t.Error(err)
	}
	wantEntries(t, filepath.Join(f.DataRoot, "volumes"))
	if got := f.took(t); !slices.Equal(got, []string{"destroy data"}) {
		t.Errorf("got events %q", got)
	}
}

func TestRemoveRefusesUnknownNames(t *testing.T) {
	f := newFixture(t)
	write(t, filepath.Join(f.DataRoot, "letter"), "dear")
	for _, name := range []string{"nosuch", "..", "", "a/b", "."} {
		if err := f.Remove(t.Context(), name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	wantContent(t, filepath.Join(f.DataRoot, "letter"), "dear")
}

func TestPruneDeletesSelectedOnly(t *testing.T) {
	anonymous := map[string]string{volume.AnonymousLabel: ""}
	kept := map[string]string{volume.AnonymousLabel: "", "keep": "yes"}
	for name, c := range map[string]struct {
		selection volume.Selection
		deleted   []string
	}{
		"anonymous ones":    {volume.Selection{}, []string{"anon", "kept"}},
		"named ones too":    {volume.Selection{All: true}, []string{"anon", "kept", "named"}},
		"without a label":   {volume.Selection{Exclude: []string{"keep"}}, []string{"anon"}},
		"with a label":      {volume.Selection{Labels: []string{"keep=yes"}}, []string{"kept"}},
		"with no such":      {volume.Selection{All: true, Labels: []string{"keep=no"}}, nil},
		"all, but labelled": {volume.Selection{All: true, Exclude: []string{"keep"}}, []string{"anon", "named"}},
	} {
		f := newFixture(t)
		f.create(t, "anon", nil, anonymous)
		f.create(t, "kept", nil, kept)
		f.create(t, "named", nil, nil)
		f.create(t, "used", nil, anonymous)
		f.create(t, "share", map[string]string{"type": "nfs", "device": ":/x", "o": "addr=192.0.2.1"}, anonymous)
		f.use(t, "c1", "used")
		all := f.names()

		deleted, reclaimed, err := f.Prune(t.Context(), c.selection)
		if err != nil || !slices.Equal(deleted, c.deleted) || (reclaimed > 0) != (len(deleted) > 0) {
			t.Errorf("%s: got %q, %d bytes, %v, want %q", name, deleted, reclaimed, err, c.deleted)
		}
		left := slices.DeleteFunc(all, func(v string) bool { return slices.Contains(c.deleted, v) })
		if got := f.names(); !slices.Equal(got, left) {
			t.Errorf("%s: got records %q, want %q", name, got, left)
		}
		wantEntries(t, filepath.Join(f.DataRoot, "volumes"), left...)
		for _, v := range left[:len(left)-2] {
			wantContent(t, filepath.Join(f.Path(v), "letter"), "dear")
		}
	}
}

// A removal that a crash interrupted is completed, and meanwhile no container can use the volume.
func TestInterruptedRemovalIsCompleted(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, nil)
	f.create(t, "other", nil, nil)
	if err := f.Store.MarkVolume("data"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(t.Context(), &volume.Volume{Name: "data"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("creation meanwhile: got %v", err)
	}

	f.restart(t)
	if got := f.names(); !slices.Equal(got, []string{"other"}) {
		t.Errorf("got records %q", got)
	}
	wantEntries(t, filepath.Join(f.DataRoot, "volumes"), "other")
	if got := f.took(t); !slices.Equal(got, []string{"destroy data"}) {
		t.Errorf("got events %q", got)
	}
	if err := f.RemoveMarked(t.Context()); err != nil {
		t.Errorf("nothing marked: got %v", err)
	}
	wantContent(t, filepath.Join(f.Path("other"), "letter"), "dear")
}

// Data whose record was lost is moved aside with its content, as often as it happens.
func TestRestoreQuarantinesDataWithoutRecord(t *testing.T) {
	f := newFixture(t)
	f.create(t, "data", nil, nil)
	for i := range 2 {
		write(t, filepath.Join(f.Path("lost"), "letter"), fmt.Sprint("dear ", i))
		f.restart(t)
	}

	wantEntries(t, filepath.Join(f.DataRoot, "volumes"), "data")
	wantContent(t, filepath.Join(f.Path("data"), "letter"), "dear")
	aside, err := filepath.Glob(filepath.Join(f.DataRoot, "quarantine", "*", "lost", "_data", "letter"))
	if err != nil || len(aside) != 2 {
		t.Fatalf("got %q in the quarantine, want both", aside)
	}
}
