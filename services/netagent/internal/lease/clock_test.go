package lease_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

func TestAdjustedFollowsBootTime(t *testing.T) {
	granted := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	terms := lease.Terms{}.For(granted, 3600, 0, 0).StampedAt(lease.Clock{Boot: "a", Uptime: time.Hour})

	at := func(boot string, uptime time.Duration) lease.Clock { return lease.Clock{Boot: boot, Uptime: uptime} }
	const minute = time.Minute
	for name, c := range map[string]struct {
		passed time.Duration // on the wall clock since the grant
		clock  lease.Clock
		remain time.Duration // until it expires
	}{
		"unchanged clock":     {10 * minute, at("a", 70*minute), 50 * minute},
		"an hour forward":     {70 * minute, at("a", 70*minute), 50 * minute},
		"an hour back":        {-50 * minute, at("a", 70*minute), 50 * minute},
		"expired, clock back": {-60 * minute, at("a", 180*minute), -60 * minute},
		"another boot":        {10 * minute, at("b", minute), 50 * minute},
		"another boot, back":  {-24 * time.Hour, at("b", minute), 60 * minute},
		"boot not known":      {10 * minute, lease.Clock{}, 50 * minute},
	} {
		now := granted.Add(c.passed)
		got := terms.Adjusted(now, c.clock)
		if remain := got.Expire.Sub(now); remain != c.remain {
			t.Errorf("%s: got %v until it expires, want %v", name, remain, c.remain)
		}
		if got.Expired(now) != (c.remain <= 0) {
			t.Errorf("%s: got expired %v", name, got.Expired(now))
		}
		if got.Renew.Sub(got.Granted) != 30*time.Minute {
			t.Errorf("%s: got T1 after %v, want 30m", name, got.Renew.Sub(got.Granted))
		}
	}
}

func TestAdjustedKeepsTermsWithoutEnd(t *testing.T) {
	now := time.Now()
	terms := lease.Terms{}.For(now.Add(-time.Hour), 1<<32-1, 0, 0).StampedAt(lease.Clock{Boot: "a"})
	got := terms.Adjusted(now, lease.Clock{Boot: "a", Uptime: time.Hour})
	if !got.Expire.IsZero() || !got.Renew.IsZero() {
		t.Errorf("got %+v, want no end", got)
	}
}
