package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
)

type pet struct {
	ID    string
	Names []string
}

func pets() *state.Table[pet] {
	return state.NewTable("pets", func(p *pet) string { return p.ID },
		state.Index[pet]{Name: "name", Of: func(p *pet) []string { return p.Names }})
}

func open(t *testing.T, path string, table *state.Table[pet]) *state.DB {
	t.Helper()
	db, err := state.Open(path, table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func put(t *testing.T, db *state.DB, table *state.Table[pet], p *pet) {
	t.Helper()
	if err := db.Update(func(tx *state.Tx) error { return table.Put(tx, p) }); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasCommittedIsThereAfterReopening(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "deep", "state.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{"1", []string{"rex"}})
	put(t, db, table, &pet{"12", []string{"tom", "tiger"}})
	put(t, db, table, &pet{"1", []string{"max"}})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	table = pets()
	view := open(t, path, table).View()
	if got, ok := table.Get(view, "1"); !ok || got.Names[0] != "max" {
		t.Errorf("key 1 = %v, %v; want max", got, ok)
	}
	if n := len(slices.Collect(table.All(view))); n != 2 {
		t.Errorf("%d objects, want 2", n)
	}
	for name, want := range map[string]int{"tom": 1, "tiger": 1, "max": 1, "rex": 0, "ti": 0} {
		if n := len(slices.Collect(table.By(view, "name", name))); n != want {
			t.Errorf("index name=%s finds %d, want %d", name, n, want)
		}
	}
}

func TestAFailedUpdateChangesNothing(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "state.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{"1", []string{"rex"}})
	boom := errors.New("boom")
	err := db.Update(func(tx *state.Tx) error {
		if _, err := table.Delete(tx, "1"); err != nil {
			return err
		}
		if err := table.Put(tx, &pet{ID: "2"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("err = %v, want boom", err)
	}
	if _, ok := table.Get(db.View(), "1"); !ok {
		t.Error("key 1 is gone though the update failed")
	}
	if _, ok := table.Get(db.View(), "2"); ok {
		t.Error("key 2 is there though the update failed")
	}
}

func TestASnapshotStandsStill(t *testing.T) {
	table := pets()
	db := open(t, filepath.Join(t.TempDir(), "state.db"), table)
	before := db.View()
	put(t, db, table, &pet{ID: "1"})
	if _, ok := table.Get(before, "1"); ok {
		t.Error("a snapshot shows what was put after it")
	}
}

func TestASecondOpenerIsRefused(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "state.db"), pets()
	open(t, path, table)
	if _, err := state.Open(path, pets()); !fault.Is(err, fault.Busy) {
		t.Errorf("second Open: %v, want a Busy fault", err)
	}
}

func TestARuinedFileIsRefusedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	ruin := []byte("this is no database")
	if err := os.WriteFile(path, ruin, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(path, pets()); err == nil {
		t.Fatal("a ruined file was opened")
	}
	if got, _ := os.ReadFile(path); !slices.Equal(got, ruin) {
		t.Error("the ruined file was changed")
	}
}

// What is shown is for readers; only Update makes it last.
func TestWhatIsShownIsInMemoryOnly(t *testing.T) {
	path, table := filepath.Join(t.TempDir(), "state.db"), pets()
	db := open(t, path, table)
	put(t, db, table, &pet{"1", []string{"rex"}})
	if err := db.Show(func(tx *state.Tx) error { return table.Put(tx, &pet{"1", []string{"max"}}) }); err != nil {
		t.Fatal(err)
	}
	if got, _ := table.Get(db.View(), "1"); got.Names[0] != "max" {
		t.Errorf("shown: %v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := table.Get(open(t, path, pets()).View(), "1"); got.Names[0] != "rex" {
		t.Errorf("after reopening: %v", got)
	}
}
