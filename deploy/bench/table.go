package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// table holds the results.
type table struct{ rows []row }

// row is a measurement, optionally with another one to compare with.
type row struct {
	what    string
	took    time.Duration
	against string
	other   time.Duration
	wanted  string
	size    int64  // bytes, printed instead of took
	text    string // printed instead of took
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%-48s %10s   %-44s %10s %7s   %s\n",
		"measured (medians)", "took", "against", "took", "ratio", "wanted")
	for _, r := range t.rows {
		ratio, other := "", ""
		if r.other > 0 {
			ratio, other = fmt.Sprintf("%.2f", float64(r.took)/float64(r.other)), short(r.other)
		}
		took := short(r.took)
		if r.size > 0 {
			took = fmt.Sprintf("%.1f MB", float64(r.size)/1e6)
		}
		if r.text != "" {
			took = r.text
		}
		fmt.Fprintf(out, "%-48s %10s   %-44s %10s %7s   %s\n", r.what, took, r.against, other, ratio, r.wanted)
	}
}

// short formats a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
