package healthcheck_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func TestValidChecksAreAccepted(t *testing.T) {
	var none *healthcheck.Check
	if err := none.Validate("container x"); err != nil {
		t.Error(err)
	}
	for name, h := range map[string]healthcheck.Check{
		"nothing": {}, "off": {Test: []string{"NONE"}}, "arguments": {Test: []string{"CMD", "curl", "-f", "x"}},
		"command line": {Test: []string{"CMD-SHELL", "exit 0"}},
		"times": {Interval: time.Millisecond, Timeout: time.Hour, StartPeriod: time.Second,
			StartInterval: time.Second, Retries: 9},
	} {
		if err := h.Validate("container x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRejectionNamesTheCause(t *testing.T) {
	for want, h := range map[string]healthcheck.Check{
		"StartInterval in Healthcheck cannot be less than 1ms": {StartInterval: time.Nanosecond},
		"Retries in Healthcheck cannot be negative":            {Retries: -1},
		`Unknown healthcheck type "HTTP"`:                      {Test: []string{"HTTP", "x"}},
		"of type CMD-SHELL has no valid command":               {Test: []string{"CMD-SHELL", " "}},
		"contains a NUL character":                             {Test: []string{"CMD", "a\x00b"}},
	} {
		err := h.Validate("container x")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "container x: ") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMergeWithImage(t *testing.T) {
	image := &healthcheck.Check{Test: []string{"CMD-SHELL", "exit 1"}, Interval: time.Minute, Retries: 5}
	line := []string{"/bin/sh", "-c", "exit 1"}
	hourly, always := &healthcheck.Check{Interval: time.Hour}, &healthcheck.Check{Test: []string{"CMD", "true"}}
	for name, c := range map[string]struct {
		user, image *healthcheck.Check
		shell, args []string
		interval    time.Duration
		retries     int
	}{
		"image": {nil, image, nil, line, time.Minute, 5},
		"shell of image": {nil, image, []string{"/bin/bash", "-ec"},
			[]string{"/bin/bash", "-ec", "exit 1"}, time.Minute, 5},
		"other interval":   {hourly, image, nil, line, time.Hour, 5},
		"other command":    {always, image, nil, []string{"true"}, time.Minute, 5},
		"no image's check": {&healthcheck.Check{Test: always.Test, Retries: 1}, nil, nil, always.Test[1:], 0, 1},
		"off":              {&healthcheck.Check{Test: []string{"NONE"}}, image, nil, nil, 0, 0},
		"none at all":      {nil, nil, nil, nil, 0, 0},
		"times only":       {&healthcheck.Check{Interval: time.Hour}, nil, nil, nil, 0, 0},
		"unknown type":     {nil, &healthcheck.Check{Test: []string{"HTTP", "x"}}, nil, nil, 0, 0},
	} {
		got := healthcheck.Merge(c.user, c.image, c.shell)
		if c.args == nil {
			if got != nil {
				t.Errorf("%s: got %+v, want none", name, got)
			}
			continue
		}
		if got == nil || !slices.Equal(got.Args, c.args) || got.Interval != c.interval || got.Retries != c.retries {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if len(image.Args) > 0 || image.Interval != time.Minute {
		t.Errorf("the image's check was changed: %+v", image)
	}
}

func TestDefaults(t *testing.T) {
	var h healthcheck.Check
	starting := healthcheck.Health{Status: healthcheck.Starting}
	if got := h.TimeoutOrDefault(); got != 30*time.Second {
		t.Errorf("got timeout %v", got)
	}
	if got := h.Wait(starting, 0); got != 30*time.Second {
		t.Errorf("without a start period: got %v", got)
	}
	h.StartPeriod = time.Minute
	if got := h.Wait(starting, 59*time.Second); got != 5*time.Second {
		t.Errorf("in the start period: got %v", got)
	}
	if got := h.Wait(starting, time.Minute); got != 30*time.Second {
		t.Errorf("after the start period: got %v", got)
	}
}

// TestHealthInvariants draws checks and results. A success makes a container healthy, only enough
// consecutive failures make it unhealthy, and the log has the last five results.
func TestHealthInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := healthcheck.Check{Retries: rapid.IntRange(0, 4).Draw(t, "retries"),
			StartPeriod: time.Duration(rapid.IntRange(0, 5).Draw(t, "start")) * time.Second}
		need := h.Retries
		if need == 0 {
			need = 3
		}
		now, failures := healthcheck.Health{Status: healthcheck.Starting}, 0
		codes := rapid.SliceOfN(rapid.IntRange(-1, 2), 1, 12).Draw(t, "codes")
		for i, code := range codes {
			before, ran := now, time.Duration(i)*time.Second
			now = h.Next(before, healthcheck.Result{ExitCode: code}, ran)
			switch {
			case code == 0:
				failures = 0
			case before.Status != healthcheck.Starting || ran >= h.StartPeriod:
				failures++
			}
			if now.FailingStreak != failures || (now.Status == healthcheck.Unhealthy) != (failures >= need) ||
				code == 0 && now.Status != healthcheck.Healthy {
				t.Fatalf("after %v: got %+v, want %d failures", codes[:i+1], now, failures)
			}
			var last []int
			for _, r := range now.Log {
				last = append(last, r.ExitCode)
			}
			if want := codes[max(0, i-4) : i+1]; !reflect.DeepEqual(last, want) {
				t.Fatalf("got log %v, want %v", last, want)
			}
		}
	})
}
