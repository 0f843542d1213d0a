// Package dockertext formats values in Docker's words. The command line and the Engine API print the
// same texts, which scripts match. It performs no I/O.
package dockertext

import (
	"fmt"
	"time"
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
