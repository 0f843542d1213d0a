package view

import (
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Limits of what counts as many hosts lost together.
const (
	lossWindow  = time.Minute
	lossLeast   = 3
	lossPercent = 30
)

// losses holds when hosts were lost, by ID.
type losses map[string]time.Time

// alarm reports whether too many hosts are lost: it starts when more than 30 % of the hosts, and at
// least three, are lost within a minute, and ends when fewer are away.
func (l losses) alarm(active bool, hosts map[string]*fleetv1.Host, alive map[string]bool, now time.Time) bool {
	away, recent := 0, 0
	for id := range hosts {
		if alive[id] {
			continue
		}
		away++
		if at, ok := l[id]; ok && now.Sub(at) <= lossWindow {
			recent++
		}
	}
	many := func(n int) bool { return n >= lossLeast && n*100 > lossPercent*len(hosts) }
	return many(recent) || active && many(away)
}
