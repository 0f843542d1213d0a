package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// Settings of the measurements on hosts with running containers.
const (
	someRunning, manyRunning = 100, 300

	busyRounds = 21
	cpuRounds  = 20
	cpuPorts   = 5
	idleFor    = 20 * time.Second
	fillers    = 4                      // containers started concurrently
	pause      = 100 * time.Millisecond // after each command
)

// command is a measured command. after is not measured: it undoes the command.
type command struct {
	what   string
	args   []string
	after  []string
	wanted string
}

func commands() []command {
	const grows = "at most 1.15"
	return []command{
		{what: "version", args: []string{"version"}},
		{what: "ps", args: []string{"ps"}},
		{what: "run --rm busybox true", args: []string{"run", "--rm", "busybox", "true"}, wanted: grows},
		{what: "run -d -p 8080:80", wanted: grows,
			args: []string{"run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "1000"}},
		{what: "rm -f", args: []string{"rm", "-f", "web"}, wanted: grows},
		{what: "publish", args: []string{"publish", "target", "8081:80"}, wanted: grows},
		{what: "unpublish", args: []string{"unpublish", "target", "8081:80"}, wanted: grows},
		{what: "network connect", args: []string{"network", "connect", "second", "target"},
			after: []string{"network", "disconnect", "second", "target"}, wanted: grows},
	}
}

// busyHost is a host with running containers.
type busyHost struct {
	*lab.Agent
	running int
	took    map[string][]time.Duration
	publish time.Duration // CPU time of the agent for a publish
	end     time.Duration // CPU time of the agent for an unpublish
}

// busy measures commands on hosts with no, some and many containers. The hosts take turns, so that
// a short load of the machine affects all of them.
func (b *bench) busy(ctx context.Context, t *table) error {
	var hosts []*busyHost
	for _, running := range []int{0, someRunning, manyRunning} {
		_, agent, err := b.host(ctx)
		if err != nil {
			return err
		}
		h := &busyHost{Agent: agent, running: running, took: map[string][]time.Duration{}}
		if err := h.fill(ctx); err != nil {
			return err
		}
		hosts = append(hosts, h)
	}

	for i := range busyRounds + 1 {
		for _, h := range hosts {
			if err := h.turn(ctx, i > 0); err != nil {
				return err
			}
		}
	}

	for _, h := range hosts {
		if err := h.cpu(ctx); err != nil {
			return err
		}
	}

	report(t, hosts)
	if err := hosts[len(hosts)-1].idle(ctx, t); err != nil {
		return err
	}

	for _, h := range hosts {
		if err := h.empty(ctx); err != nil {
			return err
		}
	}

	return nil
}

// fill starts the containers of the host.
func (h *busyHost) fill(ctx context.Context) error {
	setup := [][]string{
		{"network", "create", "second"},
		{"run", "-d", "--name", "target", "busybox", "sleep", "100000"},
	}
	for _, args := range setup {
		if _, err := h.CLI(ctx, args...); err != nil {
			return err
		}
	}

	next, results := make(chan int), make(chan error, fillers)
	for range fillers {
		go func() {
			var errs []error
			for i := range next {
				_, err := h.CLI(ctx, "run", "-d", "--name", fmt.Sprint("idle", i), "busybox", "sleep", "100000")
				errs = append(errs, err)
			}
			results <- errors.Join(errs...)
		}()
	}

	for i := range h.running {
		next <- i
	}

	close(next)
	var errs []error
	for range fillers {
		errs = append(errs, <-results)
	}

	return errors.Join(errs...)
}

// turn runs all commands once. The pause after each lets the agent finish its background work, such
// as the deletion of conntrack entries.
func (h *busyHost) turn(ctx context.Context, counts bool) error {
	for _, c := range commands() {
		start := time.Now()
		if _, err := h.CLI(ctx, c.args...); err != nil {
			return err
		}
		if counts {
			h.took[c.what] = append(h.took[c.what], time.Since(start))
		}
		if c.after != nil {
			if _, err := h.CLI(ctx, c.after...); err != nil {
				return err
			}
		}
		time.Sleep(pause)
	}

	return nil
}

// cpu measures the CPU time of the agent for a publish and for an unpublish. The deletion of
// conntrack entries after an unpublish is included.
func (h *busyHost) cpu(ctx context.Context) error {
	some := func(verb string, sum *time.Duration) error {
		before, err := h.CPU()
		if err != nil {
			return err
		}
		for i := range cpuPorts {
			if _, err := h.CLI(ctx, verb, "target", fmt.Sprintf("%d:80", 9000+i)); err != nil {
				return err
			}
		}
		time.Sleep(pause)
		after, err := h.CPU()
		*sum += (after - before) / (cpuPorts * cpuRounds)
		return err
	}
	for range cpuRounds {
		if err := errors.Join(some("publish", &h.publish), some("unpublish", &h.end)); err != nil {
			return err
		}
	}

	return nil
}

// report adds the rows of all hosts to the table.
func report(t *table, hosts []*busyHost) {
	none, busiest := hosts[0], hosts[len(hosts)-1]
	for _, c := range commands() {
		for _, h := range hosts[1:] {
			what := fmt.Sprintf("%s, %d running", c.what, h.running)
			t.add(row{what: what, took: median(h.took[c.what]), against: "none running",
				other: median(none.took[c.what]), wanted: c.wanted})
		}
	}

	for _, what := range []string{"publish", "unpublish"} {
		for _, h := range []*busyHost{none, busiest} {
			t.add(row{what: fmt.Sprintf("%s, over version, %d running", what, h.running),
				took: median(h.took[what]) - median(h.took["version"]), wanted: "at most 4 ms"})
		}
	}

	for _, h := range hosts {
		t.add(row{what: fmt.Sprintf("the agent's CPU for a publish, %d running", h.running),
			took: h.publish, wanted: "under 2 ms"})
		t.add(row{what: fmt.Sprintf("the agent's CPU for an unpublish, %d running", h.running), took: h.end})
	}
}

// idle measures the agent without requests: CPU time while idle, and the time of a restart.
func (h *busyHost) idle(ctx context.Context, t *table) error {
	time.Sleep(2 * time.Second)
	before, err := h.CPU()
	if err != nil {
		return err
	}

	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleFor):
	}

	after, err := h.CPU()
	if err != nil {
		return err
	}

	t.add(row{what: fmt.Sprintf("the agent's CPU for an idle second, %d running", h.running),
		took: (after - before) / (idleFor / time.Second), wanted: "under 5 ms"})

	var times []time.Duration
	for range 5 {
		if err := h.Stop(syscall.SIGTERM); err != nil {
			return err
		}
		start := time.Now()
		if err := h.Start(ctx); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}

	t.add(row{what: fmt.Sprintf("start of the agent until ps answers, %d running", h.running),
		took: median(times), wanted: "at most 500 ms"})
	out, err := h.CLI(ctx, "ps", "-q")
	if n := len(strings.Fields(out)); err == nil && n != h.running+1 {
		err = fmt.Errorf("got %d running containers, want %d", n, h.running+1)
	}

	return err
}

// empty removes all containers and the network, and checks for leftovers.
func (h *busyHost) empty(ctx context.Context) error {
	out, err := h.CLI(ctx, "ps", "-aq")
	if err != nil {
		return err
	}
	if _, err := h.CLI(ctx, append([]string{"rm", "-f"}, strings.Fields(out)...)...); err != nil {
		return err
	}
	if _, err := h.CLI(ctx, "network", "rm", "second"); err != nil {
		return err
	}
	return h.CheckLeftovers(ctx)
}
