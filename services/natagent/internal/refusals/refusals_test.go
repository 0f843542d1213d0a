package refusals_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// TestJournalFindsEachRecordOnce follows records of one moment, as the kernel sends several at a time.
func TestJournalFindsEachRecordOnce(t *testing.T) {
	dir := t.TempDir()
	j, err := refusals.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now, seen := time.Now(), time.Time{}
	for i := range 5 {
		j.Add(refusals.Refusal{Time: now, Owner: "a", Reason: "policy", Port: uint16(i + 1)})
		found, _, _ := j.Since(seen)
		if len(found) != 1 || int(found[0].Port) != i+1 {
			t.Fatalf("after record %d: got %v", i+1, found)
		}
		seen = found[0].Time
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(dir, "refusals.json")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"Time":"2026-`) // a crash
	_ = f.Close()
	if j, err = refusals.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if found, _, _ := j.Since(time.Time{}); len(found) != 5 {
		t.Errorf("after a restart: got %d records, want 5", len(found))
	}
}

// TestJournalIsBounded checks that the files and the memory stay small.
func TestJournalIsBounded(t *testing.T) {
	dir := t.TempDir()
	j, err := refusals.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for range 40000 {
		j.Add(refusals.Refusal{Time: time.Now(), Owner: "0123456789abcdef0123456789abcdef", Reason: "policy",
			Name: "box"})
	}
	if found, _, _ := j.Since(time.Time{}); len(found) > 8192 {
		t.Errorf("%d records in memory", len(found))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20+4096 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}
