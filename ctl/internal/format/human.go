// Package format formats responses of the agent for the command line: sizes, ages, ports, tables
// and templates. It does not call the agent.
package format

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Size formats a number of bytes with three digits and a decimal unit: "187MB".
func Size(bytes int64) string { return size(bytes, 3) }

// TotalSize is like Size with four digits, as Docker formats totals.
func TotalSize(bytes int64) string { return size(bytes, 4) }

func size(bytes int64, digits int) string {
	units, n := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}, float64(bytes)
	for n >= 1000 && len(units) > 1 {
		n, units = n/1000, units[1:]
	}
	return fmt.Sprintf("%.*g%s", digits, n, units[0])
}

// Ellipsis shortens s to n characters. The last one of a shortened text is "…".
func Ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// Digest returns the first twelve digits of a digest.
func Digest(s string) string {
	if _, hex, ok := strings.Cut(s, ":"); ok {
		s = hex
	}
	return s[:min(12, len(s))]
}
