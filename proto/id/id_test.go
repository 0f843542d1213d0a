package id_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/id"
)

func TestNewIDsAreValidAndNotDecimal(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := id.New()
		if !id.Valid(n) || seen[n] || len(id.Short(n)) != id.ShortLen || !strings.ContainsAny(id.Short(n), "abcdef") {
			t.Fatalf("%q", n)
		}
		seen[n] = true
	}
}

func TestValidRequires64LowerCaseDigits(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for s, want := range map[string]bool{good: true, "": false, good[1:]: false, good + "0": false,
		strings.ToUpper(good): false, good[:63] + "g": false} {
		if id.Valid(s) != want {
			t.Errorf("Valid(%q) = %v", s, !want)
		}
	}
	if id.Short("abc") != "abc" {
		t.Error("Short changes a text shorter than a short ID")
	}
}

type thing struct{ id, name string }

func keyOf(t thing) (string, string) { return t.id, t.name }

func TestFindPrefersIDThenNameThenPrefix(t *testing.T) {
	a, b, c := "abc0"+strings.Repeat("0", 60), "abc1"+strings.Repeat("0", 60), "def0"+strings.Repeat("0", 60)
	all := []thing{{a, "web"}, {b, "abc"}, {c, a}, {"fff", "twin"}, {"eee", "twin"}}
	for ref, want := range map[string]struct {
		id    string
		found int
	}{
		a: {a, 1}, "abc": {b, 1}, "abc0": {a, 1}, "web": {a, 1}, "de": {c, 1}, "d": {c, 1},
		"ab": {"", 2}, "twin": {"", 2}, "nothing": {"", 0}, "": {"", 0}, "ABC0": {"", 0},
	} {
		got, found := id.Find(all, ref, keyOf)
		if found != want.found || found == 1 && got.id != want.id {
			t.Errorf("%q: %v (%d found), want %v", ref, got, found, want)
		}
	}
}

func TestFindByIDAndUniquePrefix(t *testing.T) {
	digits := rapid.StringMatching("[0-9a-f]{64}")
	rapid.Check(t, func(t *rapid.T) {
		all := []thing{}
		for _, s := range rapid.SliceOfNDistinct(digits, 1, 8, rapid.ID).Draw(t, "ids") {
			all = append(all, thing{s, ""})
		}
		one := rapid.SampledFrom(all).Draw(t, "one")
		ref := one.id[:rapid.IntRange(1, id.Len).Draw(t, "length")]
		fits := 0
		for _, other := range all {
			if strings.HasPrefix(other.id, ref) {
				fits++
			}
		}
		got, found := id.Find(all, ref, keyOf)
		if found != fits || found == 1 && got != one {
			t.Fatalf("%q finds %d (%v), want %d", ref, found, got, fits)
		}
	})
}
