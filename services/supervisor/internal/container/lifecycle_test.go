package container_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func TestStartClearsFormerEnd(t *testing.T) {
	at := time.Unix(1700000000, 0)
	c := &container.Container{Status: container.Exited, ExitCode: 137, ExitUnknown: true, OOMKilled: true, Error: "x",
		FinishedAt: at, Ending: &container.Ending{Goal: container.GoalRestarted},
		Process: container.Process{Health: &healthcheck.Check{}}}
	before := *c
	got := c.Started(container.RunState{PID: 5}, at.Add(time.Second))
	if !got.IsRunning() || got.ExitCode != 0 || got.ExitUnknown || got.OOMKilled || got.Error != "" ||
		!got.FinishedAt.IsZero() || got.Ending != nil || got.Live.PID != 5 ||
		!got.StartedAt.Equal(at.Add(time.Second)) || got.Health.Status != healthcheck.Starting {
		t.Errorf("got %+v", got)
	}
	if !reflect.DeepEqual(*c, before) {
		t.Errorf("the container before is modified: %+v", c)
	}
	c.Process.Health, c.Health = nil, &healthcheck.Health{}
	if got := c.Started(container.RunState{}, at); got.Health != nil {
		t.Errorf("got health %+v without a check", got.Health)
	}
}

func TestExitReachesGoal(t *testing.T) {
	exit := container.Exit{Code: 3, OOM: true, At: time.Unix(1700000000, 0)}
	for name, c := range map[string]struct {
		status container.Status
		ending *container.Ending
		want   container.Status
		kept   bool // the request remains
	}{
		"by itself": {container.Running, nil, container.Exited, false},
		"stopped":   {container.Running, &container.Ending{Goal: container.GoalStopped}, container.Exited, false},
		"restarted": {container.Running, &container.Ending{Goal: container.GoalRestarted}, container.Exited, true},
		"removed":   {container.Running, &container.Ending{Goal: container.GoalRemoved}, container.Removing, false},
		"removing":  {container.Removing, nil, container.Removing, false},
	} {
		running := &container.Container{Status: c.status, Ending: c.ending, Live: &container.RunState{PID: 5},
			Health: &healthcheck.Health{Status: healthcheck.Starting}}
		got := running.Ended(exit)
		if got.Status != c.want || (got.Ending != nil) != c.kept || got.Live != nil || got.ExitCode != 3 ||
			!got.OOMKilled || !got.FinishedAt.Equal(exit.At) || got.Health.Status != healthcheck.Unhealthy {
			t.Errorf("%s: got %+v", name, got)
		}
		if running.Live == nil || running.Health.Status != healthcheck.Starting {
			t.Errorf("%s: the container before is modified: %+v", name, running)
		}
	}
}

func TestRemovalIsNeverReplaced(t *testing.T) {
	goals := []container.Goal{container.GoalStopped, container.GoalRestarted, container.GoalRemoved}
	for _, first := range goals {
		for _, second := range goals {
			c := (&container.Container{}).Wanted(container.Ending{Goal: first, Signal: "TERM"}).
				Wanted(container.Ending{Goal: second, Signal: "KILL"})
			want := second
			if first == container.GoalRemoved {
				want = first
			}
			if c.Ending.Goal != want || c.Unwanted().Ending != nil || c.Ending == nil {
				t.Errorf("%s, then %s: got %+v", first, second, c.Ending)
			}
		}
	}
}

func TestRemovalByFlagSparesRestart(t *testing.T) {
	for name, c := range map[string]struct {
		autoRemove, itself, removed bool
		ending                      container.Goal
		status                      container.Status
	}{
		"neither":           {},
		"--rm":              {autoRemove: true, itself: true, removed: true},
		"--rm, restarted":   {autoRemove: true, ending: container.GoalRestarted},
		"--rm, stopped":     {autoRemove: true, ending: container.GoalStopped, itself: true, removed: true},
		"removed":           {ending: container.GoalRemoved, removed: true},
		"is being removed":  {status: container.Removing, removed: true},
		"--rm, and removed": {autoRemove: true, ending: container.GoalRemoved, itself: true, removed: true},
	} {
		got := &container.Container{Status: c.status, Config: container.Config{AutoRemove: c.autoRemove}}
		if c.ending != "" {
			got = got.Wanted(container.Ending{Goal: c.ending})
		}
		if got.RemovesItself() != c.itself || got.IsToBeRemoved() != c.removed {
			t.Errorf("%s: got removes itself %v, is to be removed %v", name, got.RemovesItself(), got.IsToBeRemoved())
		}
	}
}

func TestTimeToKillIsBounded(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for left, want := range map[time.Duration]time.Duration{5 * time.Second: 5 * time.Second, -time.Hour: 0, 0: 0,
		time.Hour: 10 * time.Second} { // the clock was set back by an hour
		e := container.Ending{KillAt: now.Add(left)}
		if got := e.Left(now, 10*time.Second); got != want {
			t.Errorf("%s: got %s, want %s", left, got, want)
		}
	}
	if got := (&container.Container{}).StopTimeout(); got != 10*time.Second {
		t.Errorf("got a stop timeout of %s, want Docker's", got)
	}
	c := &container.Container{Config: container.Config{StopTimeout: new(time.Duration(0))}}
	if got := c.StopTimeout(); got != 0 {
		t.Errorf("got a stop timeout of %s, want 0", got)
	}
}

func TestStatesOfDocker(t *testing.T) {
	live := &container.RunState{PID: 5}
	running := &container.Container{Status: container.Running, Live: live}
	for want, c := range map[string]*container.Container{
		"created": {Status: container.Launching}, "exited": {Status: container.Exited},
		"running": running, "paused": running.Paused(true), "restarting": {Status: container.Restarting},
		"removing": {Status: container.Removing}, "dead": {Status: container.Removing, Dead: true},
	} {
		if got := c.State(); got != want {
			t.Errorf("%+v: got %s, want %s", c, got, want)
		}
		active := want == "running" || want == "paused" || want == "restarting"
		if c.IsActive() != active {
			t.Errorf("%s: got active %v", want, c.IsActive())
		}
	}

	commit := running.PausedForCommit()
	if !commit.IsPausedForCommit() || !commit.IsPaused() || commit.Paused(false).IsPausedForCommit() ||
		commit.Paused(true).IsPausedForCommit() || live.Paused || live.Committing {
		t.Errorf("got %+v from %+v", commit.Live, live)
	}
}

func TestRestartCountsAndStops(t *testing.T) {
	end := time.Unix(1700000000, 0)
	c := &container.Container{Status: container.Exited, FinishedAt: end, Restarts: container.Restarts{Count: 2}}
	next := c.Restarted(time.Minute)
	if next.State() != "restarting" || next.Restarts.Count != 3 || !next.Restarts.At.Equal(end.Add(time.Minute)) ||
		c.Restarts.Count != 2 {
		t.Errorf("got %+v", next.Restarts)
	}
	for _, stopped := range []bool{true, false} {
		got := next.NotRestarted(stopped)
		if got.State() != "exited" || !got.Restarts.At.IsZero() || got.Restarts.Stopped != stopped ||
			got.Restarts.Count != 3 {
			t.Errorf("stopped %v: got %s, %+v", stopped, got.State(), got.Restarts)
		}
		if again := got.NotRestarted(false); again.Restarts.Stopped != stopped {
			t.Errorf("stopped %v: got %v after another call", stopped, again.Restarts.Stopped)
		}
	}
}

func TestRestartPolicyErrors(t *testing.T) {
	for _, c := range []struct {
		p          container.RestartPolicy
		autoRemove bool
		want       string
	}{
		{container.RestartPolicy{}, true, ""}, {container.RestartPolicy{Name: "no"}, true, ""},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}, false, ""},
		{container.RestartPolicy{Name: "always", MaximumRetryCount: 1}, false,
			"invalid restart policy: maximum retry count can only be used with 'on-failure'"},
		{container.RestartPolicy{MaximumRetryCount: 1}, false,
			"invalid restart policy: maximum retry count can only be used with 'on-failure'"},
		{container.RestartPolicy{Name: "on-failure", MaximumRetryCount: -1}, false,
			"invalid restart policy: maximum retry count cannot be negative"},
		{container.RestartPolicy{Name: "Always"}, false, "invalid restart policy: unknown policy 'Always'; " +
			"use one of 'no', 'always', 'on-failure', or 'unless-stopped'"},
		{container.RestartPolicy{Name: "unless-stopped"}, true,
			"conflicting options: cannot specify both --restart and --rm; omit one of them"},
	} {
		err := c.p.Validate("container web", c.autoRemove)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != "container web: "+c.want) {
			t.Errorf("%+v: got  %v\nwant container web: %s", c.p, err, c.want)
		}
	}
}

func TestChangesOfStoredContainerAreCopies(t *testing.T) {
	live := &container.RunState{PID: 7, NetnsPath: "/run/netns/a", SharedWith: "owner"}
	c := &container.Container{Config: container.Config{Name: "web", Network: container.Network{
		Attachments: []container.Attachment{{Network: "n1"}, {Network: "n2"}}}}, Live: live}
	change := &container.Change{Network: "n2"}
	disconnected := c.Changing(change).Disconnected("n2", live)
	connected := disconnected.Connected(container.Attachment{Network: "n3"}, live)
	own := c.WithOwnNetns()
	renamed, failed := c.WithName("db"), c.FailedToStart(errors.New("no memory"))

	if a := disconnected.Config.Network.Attachments; len(a) != 1 || a[0].Network != "n1" || disconnected.Change != nil {
		t.Errorf("got %+v after a disconnect", disconnected)
	}
	if a := connected.Config.Network.Attachments; len(a) != 2 || a[1].Network != "n3" {
		t.Errorf("got %+v after a connect", a)
	}
	if own.Live.NetnsPath != "/proc/7/ns/net" || own.Live.SharedWith != "" || renamed.Subject() != "container db" ||
		failed.Error != "no memory" || c.InStatus(container.Created).Status != container.Created {
		t.Errorf("got %+v, %s, %q", own.Live, renamed.Subject(), failed.Error)
	}
	if a := c.Config.Network.Attachments; len(a) != 2 || a[1].Network != "n2" || live.SharedWith != "owner" ||
		c.Config.Name != "web" || c.Error != "" || c.Change != nil {
		t.Errorf("the container before is modified: %+v, %+v", c, live)
	}
	if !change.Disconnects("n2") || change.Disconnects("n1") || (*container.Change)(nil).Disconnects("n2") ||
		(&container.Change{Renamed: true}).Disconnects("") {
		t.Errorf("got a wrong network for %+v", change)
	}
}
