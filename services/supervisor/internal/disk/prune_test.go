package disk_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/disk"
)

var now = time.Unix(1_790_000_000, 0)

func stored(uid string, status container.Status, age time.Duration, labels map[string]string) *container.Container {
	return &container.Container{ID: uid, Status: status, CreatedAt: now.Add(-age),
		Config: container.Config{Labels: labels}}
}

func TestSelectionIncludes(t *testing.T) {
	dead := stored("dead", container.Removing, time.Hour, nil)
	dead.Dead = true
	old := stored("old", container.Exited, time.Hour, map[string]string{"a": "1"})
	for name, c := range map[string]struct {
		selection disk.Selection
		container *container.Container
		want      bool
	}{
		"exited":        {disk.Selection{}, old, true},
		"created":       {disk.Selection{}, stored("c", container.Created, 0, nil), true},
		"running":       {disk.Selection{}, stored("c", container.Running, 0, nil), false},
		"restarting":    {disk.Selection{}, stored("c", container.Restarting, 0, nil), false},
		"launching":     {disk.Selection{}, stored("c", container.Launching, 0, nil), false},
		"removing":      {disk.Selection{}, stored("c", container.Removing, 0, nil), false},
		"dead":          {disk.Selection{}, dead, true},
		"older":         {disk.Selection{Until: now}, old, true},
		"newer":         {disk.Selection{Until: now.Add(-2 * time.Hour)}, old, false},
		"label":         {disk.Selection{Labels: []string{"a", "a=1"}}, old, true},
		"other value":   {disk.Selection{Labels: []string{"a", "a=2"}}, old, false},
		"excluded":      {disk.Selection{Exclude: []string{"b", "a"}}, old, false},
		"not excluded":  {disk.Selection{Exclude: []string{"b", "a=2"}}, old, true},
		"missing label": {disk.Selection{Labels: []string{"b"}}, old, false},
	} {
		if got := c.selection.Includes(c.container); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// fake removes containers unless it has an error for them.
type fake struct {
	list    []*container.Container
	errs    map[string]error
	removed []string
}

func (f *fake) List() []*container.Container { return f.list }

func (f *fake) Remove(_ context.Context, ref string, force, withVolumes bool) error {
	if force || withVolumes {
		panic("a prune forces nothing and keeps volumes")
	}
	if err := f.errs[ref]; err != nil {
		return err
	}
	f.removed = append(f.removed, ref)
	return nil
}

func TestPruneReportsRemovedContainers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "busy"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "file"), make([]byte, 64<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	f := &fake{errs: map[string]error{"busy": fault.New(fault.Busy, "container busy", "is running"),
		"broken": fault.New(fault.Unavailable, "container broken", "cannot be removed")}}
	for _, uid := range []string{"a", "busy", "broken", "never"} {
		f.list = append(f.list, stored(uid, container.Exited, 0, nil))
	}
	f.list = append(f.list, stored("up", container.Running, 0, nil))

	broker := &events.Broker{}
	d := disk.New(disk.Config{Containers: f, Upper: func(uid string) string { return filepath.Join(dir, uid) },
		Events: broker, Log: slog.New(slog.DiscardHandler)})
	deleted, reclaimed, err := d.Prune(t.Context(), disk.Selection{})
	if err != nil || !slices.Equal(deleted, []string{"a", "never"}) || !slices.Equal(f.removed, deleted) {
		t.Errorf("got %v, removed %v, %v, want a and never", deleted, f.removed, err)
	}
	if reclaimed < 64<<10 || reclaimed >= 128<<10 {
		t.Errorf("got %d bytes, want those of one file", reclaimed)
	}
}
