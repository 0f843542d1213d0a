package cpulist

import (
	"maps"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := Parse("0-2,5")
	if want := map[int]bool{0: true, 1: true, 2: true, 5: true}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := Parse(""); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want an empty list", got, err)
	}
	for _, text := range []string{"x", "2-1", "-1", "1-", ",", "0-9999999999"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
