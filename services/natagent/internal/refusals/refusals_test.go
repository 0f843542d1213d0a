package refusals_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	if err != nil || len(files) != 3 { // two of refusals, and one of connections
		t.Fatalf("files %v, %v", files, err)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20+4096 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// TestObservedConnectionsStay checks that one connection of each kind is kept, whatever is refused.
func TestObservedConnectionsStay(t *testing.T) {
	dir := t.TempDir()
	j, err := refusals.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	add := func(domain string) {
		j.Add(refusals.Refusal{Time: time.Now(), Owner: "a", Reason: refusals.Observed, Protocol: "tcp", Port: 443,
			Domain: domain})
	}
	for range 20 {
		add("a.test")
		add("b.test")
		for range 1000 {
			j.Add(refusals.Refusal{Time: time.Now(), Owner: "b", Reason: "policy"})
		}
	}
	domains := func() (all []string) {
		found, _, _ := j.Since(time.Time{})
		for i, r := range found {
			if r.IsObserved() {
				all = append(all, r.Domain)
			}
			if i > 0 && !r.Time.After(found[i-1].Time) {
				t.Fatalf("record %d is not after the one before", i)
			}
		}
		return all
	}
	want := []string{"a.test", "b.test"}
	if got := domains(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if counts, _ := j.Counts(); counts[refusals.Observed] != 40 {
		t.Errorf("counted %d", counts[refusals.Observed])
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = refusals.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	add("b.test")
	if got := domains(); !slices.Equal(got, want) {
		t.Errorf("after a restart: got %q", got)
	}
}

// TestFloodHidesNoOtherContainer checks that the records of one container survive as many as another one likes, with
// long names, in memory and after a restart.
func TestFloodHidesNoOtherContainer(t *testing.T) {
	dir := t.TempDir()
	j, err := refusals.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		j.Add(refusals.Refusal{Time: time.Now(), Owner: "victim", Reason: "policy", Port: uint16(i)})
	}
	for i := range 12000 {
		j.Add(refusals.Refusal{Time: time.Now(), Owner: "flood", Reason: "name", Domain: fmt.Sprint(i,
			strings.Repeat("\x1b", i%200))})
	}
	check := func(when string) {
		found, _, _ := j.Since(time.Time{})
		counts := map[string]int{}
		for i, r := range found {
			counts[r.Owner]++
			if i > 0 && !r.Time.After(found[i-1].Time) {
				t.Fatalf("%s: record %d is not after the one before", when, i)
			}
		}
		if last := found[len(found)-1].Domain; counts["victim"] != 100 || counts["flood"] < 100 ||
			!strings.HasPrefix(last, "11999") {
			t.Errorf("%s: got %v, the last one is %.20q", when, counts, last)
		}
	}
	check("in memory")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = refusals.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	check("after a restart")
}
