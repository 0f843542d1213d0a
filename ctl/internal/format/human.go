// Package format formats responses of the agent for the command line: sizes, ages, ports, tables
// and templates. It does not call the agent.
package format

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const day = 24 * time.Hour

// Duration formats a duration in Docker's words: "About a minute", "3 weeks".
func Duration(d time.Duration) string {
	seconds, minutes, hours := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5)
	switch {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return fmt.Sprintf("%d seconds", seconds)
	case minutes == 1:
		return "About a minute"
	case minutes < 60:
		return fmt.Sprintf("%d minutes", minutes)
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return fmt.Sprintf("%d hours", hours)
	case d < 14*day:
		return fmt.Sprintf("%d days", hours/24)
	case d < 60*day:
		return fmt.Sprintf("%d weeks", hours/24/7)
	case d < 2*365*day:
		return fmt.Sprintf("%d months", hours/24/30)
	}

	return fmt.Sprintf("%d years", int(d.Hours())/24/365)
}

// Size formats a number of bytes with three digits and a decimal unit: "187MB".
func Size(bytes int64) string {
	units, n := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}, float64(bytes)
	for n >= 1000 && len(units) > 1 {
		n, units = n/1000, units[1:]
	}
	return fmt.Sprintf("%.3g%s", n, units[0])
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
