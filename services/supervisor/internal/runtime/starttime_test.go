package runtime

import (
	"strings"
	"testing"
)

func TestParseStartTime(t *testing.T) {
	const stat = "4211 (a) b (c)) S 1 4211 4211 0 -1 4194560 100 0 0 0 0 0 0 0 20 " +
		"0 1 0 7654321 1000 10 18446744073709551615 1"
	if n, err := parseStartTime(stat); err != nil || n != 7654321 {
		t.Errorf("parseStartTime: got %d, %v", n, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", strings.Replace(stat, "7654321", "x", 1)} {
		if n, err := parseStartTime(bad); err == nil {
			t.Errorf("parseStartTime(%q): got %d, want an error", bad, n)
		}
	}
}

func FuzzParseStartTime(f *testing.F) {
	f.Add("1 (x) S 1 1 1 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 5")
	f.Fuzz(func(_ *testing.T, stat string) { _, _ = parseStartTime(stat) })
}
