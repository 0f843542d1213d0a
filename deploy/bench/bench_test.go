package main

import (
	"strings"
	"testing"
	"time"
)

func TestTableShowsRatios(t *testing.T) {
	var out strings.Builder
	tab := table{rows: []row{
		{what: "run", took: 30 * time.Millisecond, against: "bare", other: 20 * time.Millisecond, wanted: "at most 2"},
		{what: "alone", took: 1500 * time.Millisecond},
		{what: "memory", size: 2_500_000, wanted: "under 3 MB"},
		{what: "share", text: "4.2 %"},
	}}
	tab.print(&out)
	for _, want := range []string{"30.0 ms", "20.0 ms", "   1.50   at most 2\n", "1.50 s", " 2.5 MB ", " 4.2 % "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestMedianIgnoresOutlier(t *testing.T) {
	if got := median([]time.Duration{5, 1, 900, 3, 4}); got != 4 {
		t.Errorf("got %d, want 4", got)
	}
}

func TestBenchmarkLinesAreParsed(t *testing.T) {
	const out = "goos: linux\nBenchmarkPublish/10-2   \t  200\t    98765.5 ns/op\t 12 B/op\n" +
		"BenchmarkCreateSandbox \t 200\t 1000 ns/op\nPASS\n"
	got := result.FindAllStringSubmatch(out, -1)
	if len(got) != 2 || got[0][1] != "Publish/10" || got[0][2] != "98765.5" || got[1][1] != "CreateSandbox" {
		t.Errorf("got %q", got)
	}
}
