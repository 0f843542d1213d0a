package cpulist

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseErrorsNamePart(t *testing.T) {
	for text, want := range map[string]string{
		"0,x,2":                `invalid format: "x"`,
		"0-2,5-3":              `invalid format: "5-3"`,
		"0,":                   `invalid format: ""`,
		"0 - 2":                `invalid format: "0 - 2"`,
		"1-2-3":                `invalid format: "1-2-3"`,
		"0-8193":               "invalid number 8193, the maximum is 8192",
		"9000":                 "invalid number 9000, the maximum is 8192",
		"0x3":                  `invalid format: "0x3"`,
		"0-3:1/2":              `invalid format: "0-3:1/2"`,
		"1\n":                  "invalid format: \"1\\n\"",
		"8192,-8":              `invalid format: "-8"`,
		"99999999999999999999": `invalid format: "99999999999999999999"`,
	} {
		if got, err := Parse(text); got != nil || err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %s", text, got, err, want)
		}
	}
	if got, err := Parse("8192"); err != nil || !got[8192] || len(got) != 1 {
		t.Errorf("got %v, %v for the maximum", got, err)
	}
}

// TestFormattedSetRoundTrips writes sets as the kernel does and in other orders, and parses them.
func TestFormattedSetRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[int]bool{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 70), 0, 40).Draw(t, "numbers") {
			want[n] = true
		}

		parts := ranges(slices.Sorted(maps.Keys(want)))
		if len(parts) > 0 { // order and duplicates have no meaning
			parts = append(rapid.Permutation(parts).Draw(t, "order"), parts[0])
		}

		text := strings.Join(parts, ",")
		if got, err := Parse(text); err != nil || !maps.Equal(got, want) {
			t.Fatalf("%s: got %v, %v, want %v", text, got, err, want)
		}
	})
}

// ranges formats sorted numbers as the kernel does: adjacent numbers are joined.
func ranges(sorted []int) []string {
	var parts []string
	for i := 0; i < len(sorted); {
		end := i
		for end+1 < len(sorted) && sorted[end+1] == sorted[end]+1 {
			end++
		}
		part := strconv.Itoa(sorted[i])
		if end > i {
			part = fmt.Sprintf("%d-%d", sorted[i], sorted[end])
		}
		parts, i = append(parts, part), end+1
	}
	return parts
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "0-2,4", "0-8192", "1-", "-", ",,", "0-9999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			return
		}
		for n := range got {
			if n < 0 || n > maxCPUNumber {
				t.Errorf("%q: got number %d", text, n)
			}
		}
		again, err := Parse(strings.Join(ranges(slices.Sorted(maps.Keys(got))), ","))
		if err != nil || !maps.Equal(got, again) {
			t.Errorf("%q: got %v, again %v, %v", text, got, again, err)
		}
	})
}
