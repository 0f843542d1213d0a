package healthcheck_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func TestHealthCheckValidation(t *testing.T) {
	for name, h := range map[string]healthcheck.Check{
		"type": {Test: []string{"HTTP", "x"}}, "no command": {Test: []string{"CMD"}},
		"two commands": {Test: []string{"CMD-SHELL", "a", "b"}}, "none with command": {Test: []string{"NONE", "a"}},
		"short interval": {Interval: time.Microsecond}, "negative": {Timeout: -time.Second}, "retries": {Retries: -1},
	} {
		if h.Validate("container x") == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// A simulated container: checks fail in the start period, then one succeeds, then all fail.
func TestHealthTransitions(t *testing.T) {
	h := healthcheck.Check{Interval: 10 * time.Second, StartPeriod: 30 * time.Second, StartInterval: time.Second,
		Retries: 2}
	now, ran := healthcheck.Health{Status: healthcheck.Starting}, time.Duration(0)
	step := func(code int, status string, streak int, wait time.Duration) {
		t.Helper()
		ran += h.Wait(now, ran)
		now = h.Next(now, healthcheck.Result{ExitCode: code}, ran)
		if got := h.Wait(now, ran); now.Status != status || now.FailingStreak != streak || got != wait {
			t.Errorf("after %v: got %s, %d failures, next check in %v; want %s, %d, %v", ran, now.Status,
				now.FailingStreak, got, status, streak, wait)
		}
	}

	step(1, healthcheck.Starting, 0, time.Second)
	step(1, healthcheck.Starting, 0, time.Second)
	step(0, healthcheck.Healthy, 0, 10*time.Second)
	step(-1, healthcheck.Healthy, 1, 10*time.Second) // a healthy container leaves the start period
	step(1, healthcheck.Unhealthy, 2, 10*time.Second)
	step(1, healthcheck.Unhealthy, 3, 10*time.Second)
	step(0, healthcheck.Healthy, 0, 10*time.Second)
	if len(now.Log) != 5 || now.Log[0].ExitCode != 0 || now.Log[1].ExitCode != -1 {
		t.Errorf("got log %+v", now.Log)
	}
}
