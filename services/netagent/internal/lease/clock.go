package lease

import "time"

// Clock is a time that changes of the wall clock do not affect.
type Clock struct {
	Boot   string        // the boot's ID; empty if it is not known
	Uptime time.Duration // since the boot, suspension included
}

// StampedAt returns the terms with the boot time at which they were granted. A later process then
// knows how much time has passed, although the wall clock was changed.
func (t Terms) StampedAt(c Clock) Terms {
	t.GrantedAt = c
	return t
}

// Adjusted returns the terms with their times moved by what the wall clock was changed since they
// were granted. now and c are the same moment. Terms of another boot keep their wall times, as
// nothing records how long the host was off, but do not last longer than granted from now on.
func (t Terms) Adjusted(now time.Time, c Clock) Terms {
	if t.GrantedAt.Boot != "" && t.GrantedAt.Boot == c.Boot {
		return t.grantedAt(now.Add(t.GrantedAt.Uptime - c.Uptime))
	}
	if t.Granted.After(now) {
		return t.grantedAt(now)
	}
	return t
}

// grantedAt returns the terms with all times moved so that they were granted at a given time.
func (t Terms) grantedAt(granted time.Time) Terms {
	move := func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return granted.Add(at.Sub(t.Granted))
	}

	t.Renew, t.Rebind, t.Expire = move(t.Renew), move(t.Rebind), move(t.Expire)
	t.Granted = granted
	return t
}
