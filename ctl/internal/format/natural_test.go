package format_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/ctl/internal/format"
)

func TestNaturalCompare(t *testing.T) {
	want := []string{"", "1", "2", "10", "a", "a1", "a1b", "a2", "a02", "a10", "a10b2", "a10b10", "b", "net-9",
		"net-10"}
	for range 20 {
		got := slices.Clone(want)
		rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		if slices.SortFunc(got, format.NaturalCompare); !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
	}
}

func TestNaturalCompareIsTotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[ab0-3]{0,6}`)
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if format.NaturalCompare(a, b) != -format.NaturalCompare(b, a) ||
			(format.NaturalCompare(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q", a, b)
		}
		if format.NaturalCompare(a, b) <= 0 && format.NaturalCompare(b, c) <= 0 && format.NaturalCompare(a, c) > 0 {
			t.Errorf("%q before %q before %q, but not", a, b, c)
		}
	})
}
