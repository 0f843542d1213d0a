package restart_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/restart"
)

func TestNextFollowsPolicy(t *testing.T) {
	twice := container.RestartPolicy{Name: container.RestartOnFailure, MaximumRetryCount: 2}
	for name, c := range map[string]struct {
		policy container.RestartPolicy
		count  int
		code   int
		want   bool
	}{
		"none":                        {container.RestartPolicy{}, 0, 1, false},
		"no":                          {container.RestartPolicy{Name: container.RestartNo}, 0, 1, false},
		"always, success":             {container.RestartPolicy{Name: container.RestartAlways}, 1000, 0, true},
		"unless-stopped, success":     {container.RestartPolicy{Name: container.RestartUnlessStopped}, 7, 0, true},
		"on-failure, success":         {container.RestartPolicy{Name: container.RestartOnFailure}, 0, 0, false},
		"on-failure, failure":         {container.RestartPolicy{Name: container.RestartOnFailure}, 99, 137, true},
		"on-failure:2, first failure": {twice, 0, 1, true},
		"on-failure:2, third failure": {twice, 2, 1, false},
	} {
		if _, ok := restart.Next(c.policy, c.count, 0, restart.Exit{Code: c.code}); ok != c.want {
			t.Errorf("%s: got %v, want %v", name, ok, c.want)
		}
	}
}

// clock is the time that passes in a simulated sequence of runs.
type clock struct{ now time.Duration }

// crash simulates a run and the delay after it, and returns the delay.
func (c *clock) crash(t *testing.T, count int, last, ran time.Duration) time.Duration {
	t.Helper()
	delay, ok := restart.Next(container.RestartPolicy{Name: container.RestartAlways}, count, last,
		restart.Exit{Code: 1, Ran: ran})
	if !ok {
		t.Fatal("not restarted")
	}
	c.now += ran + delay
	return delay
}

func TestDelayDoublesUpToLimit(t *testing.T) {
	var c clock
	var last time.Duration
	for n, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000} {
		if last = c.crash(t, n, last, time.Millisecond); last != want*time.Millisecond {
			t.Errorf("restart %d: got %v, want %v ms", n, last, want)
		}
	}

	if limit := 5 * time.Minute; c.now > limit {
		t.Errorf("twelve crashes took %v, want at most %v", c.now, limit)
	}

	if last = c.crash(t, 12, last, 9999*time.Millisecond); last != restart.MaxDelay {
		t.Errorf("after a short run: got %v", last)
	}

	if last = c.crash(t, 13, last, 10*time.Second); last != restart.MinDelay {
		t.Errorf("after ten seconds: got %v, want %v", last, restart.MinDelay)
	}
}
