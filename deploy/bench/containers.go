package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// The containers of the host.
const (
	stoppedCount, runningCount = 1000, 300

	listRounds  = 15
	statsStream = 20 * time.Second
)

// crowdedHost is a host with many containers.
type crowdedHost struct {
	*lab.Agent
	lab *lab.Lab
}

// containers measures lists, requests of the Engine API, statistics, the memory and a restart of an agent
// with 1,000 stopped and 300 running containers.
func (b *bench) containers(ctx context.Context, t *table) error {
	l, agent, err := b.host(ctx)
	if err != nil {
		return err
	}

	h := &crowdedHost{Agent: agent, lab: l}
	err = errors.Join(
		h.each(stoppedCount, func(i int) []string {
			return []string{"create", "--label", fmt.Sprint("group=", i%100), "busybox", "sleep", "100000"}
		}),
		h.each(runningCount, func(i int) []string {
			return []string{"run", "-d", "--label", "group=running", "busybox", "sleep", "100000"}
		}))
	if err != nil {
		return err
	}

	if err := h.lists(ctx, t); err != nil {
		return err
	}
	if err := h.requests(ctx, t); err != nil {
		return err
	}
	h.memory(t)
	if err := h.stats(ctx, t); err != nil {
		return err
	}
	if err := h.restart(ctx, t); err != nil {
		return err
	}
	return h.remove(ctx)
}

// each runs a command count times, a few concurrently.
func (h *crowdedHost) each(count int, args func(i int) []string) error {
	next := make(chan int)
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range fillers {
		all.Go(func() {
			for i := range next {
				if _, err := h.CLI(context.Background(), args(i)...); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}

	for i := range count {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}

// lists measures the commands that list containers. The commands take turns.
func (h *crowdedHost) lists(ctx context.Context, t *table) error {
	commands := []struct {
		what, args, wanted string
		lines              int
	}{
		{"version", "version", "", 0},
		{"ps -a", "ps -a", "under 60 ms", stoppedCount + runningCount + 1},
		{"ps -a --filter label=", "ps -a --filter label=group=7", "under 15 ms", stoppedCount/100 + 1},
		{"ps", "ps", "", runningCount + 1},
		{"stats --no-stream", "stats --no-stream", "under 100 ms", runningCount + 1},
	}
	times := make([][]time.Duration, len(commands))
	for i := range listRounds + 1 {
		for j, c := range commands {
			start := time.Now()
			out, err := h.CLI(ctx, strings.Fields(c.args)...)
			if err != nil {
				return err
			}
			if n := strings.Count(out, "\n"); c.lines > 0 && n != c.lines {
				return fmt.Errorf("%s: got %d lines, want %d", c.args, n, c.lines)
			}
			if i > 0 {
				times[j] = append(times[j], time.Since(start))
			}
		}
	}

	for j, c := range commands {
		t.add(row{what: c.what + ", 1,000 stopped, 300 running", took: median(times[j]), against: "version",
			other: median(times[0]), wanted: c.wanted})
	}
	return nil
}

// memory measures the agent with the monitors of containers.
func (h *crowdedHost) memory(t *table) {
	agent, _ := h.lab.Memory("fairlead-agent")
	monitors, count := h.lab.Memory("conmon")
	wanted := int64(60e6) + int64(count)*600_000
	t.add(row{what: "the agent's memory", size: agent})
	t.add(row{what: fmt.Sprintf("memory of the agent and of %d monitors", count), size: agent + monitors,
		wanted: fmt.Sprintf("under %d MB", wanted/1e6)})
}

// stats measures the processor time of streaming statistics of all containers, client included.
func (h *crowdedHost) stats(ctx context.Context, t *table) error {
	before, err := h.CPU()
	if err != nil {
		return err
	}

	limited, cancel := context.WithTimeout(ctx, statsStream)
	defer cancel()
	client := exec.CommandContext(limited, h.Program(), "-H", h.Socket(), "stats")
	var out bytes.Buffer
	client.Stdout, client.Stderr = &out, &out
	_ = h.lab.Host.Run(client) // ends with limited
	if n := strings.Count(out.String(), "\n"); n < 5*runningCount {
		return fmt.Errorf("stats: got %d lines: %.1000s", n, out.String())
	}

	after, err := h.CPU()
	state := client.ProcessState
	seconds := time.Duration(statsStream / time.Second)
	t.add(row{what: "the agent's CPU for a second of stats", took: (after - before) / seconds, wanted: "under 20 ms"})
	t.add(row{what: "its client's", took: (state.UserTime() + state.SystemTime()) / seconds})
	return err
}

// restart measures a restart of the agent until it responds.
func (h *crowdedHost) restart(ctx context.Context, t *table) error {
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
	t.add(row{what: "start of the agent until ps answers", took: median(times), wanted: "at most 1 s"})
	return nil
}

// remove removes all containers and checks for leftovers.
func (h *crowdedHost) remove(ctx context.Context) error {
	out, err := h.CLI(ctx, "ps", "-aq")
	if err != nil {
		return err
	}
	if _, err := h.CLI(ctx, append([]string{"rm", "-f"}, strings.Fields(out)...)...); err != nil {
		return err
	}
	return h.CheckLeftovers(ctx)
}

// restarts measures how fast the containers of a restart policy run again after the agent, their
// monitors and their processes were killed.
func (b *bench) restarts(ctx context.Context, t *table) error {
	l, agent, err := b.host(ctx)
	if err != nil {
		return err
	}

	h := &crowdedHost{Agent: agent, lab: l}
	if err := h.each(runningCount, func(i int) []string {
		volume := fmt.Sprint("data", i, ":/data")
		return []string{"run", "-d", "--restart", "always", "-v", volume, "busybox", "sleep", "100000"}
	}); err != nil {
		return err
	}

	if err := h.Stop(syscall.SIGKILL); err != nil {
		return err
	}
	if err := l.Kill(ctx, "conmon", "sleep"); err != nil {
		return err
	}
	start := time.Now()
	if err := h.Start(ctx); err != nil {
		return err
	}
	for h.sleeping() < runningCount {
		if time.Since(start) > 2*time.Minute {
			return fmt.Errorf("%d containers run after %s, want %d", h.sleeping(), time.Since(start), runningCount)
		}
		time.Sleep(200 * time.Millisecond) // reading /proc is work, too
	}

	t.add(row{what: "300 --restart always, all killed, until all run", took: time.Since(start), wanted: "at most 8 s"})
	return h.remove(ctx)
}

// sleeping returns the number of processes of containers.
func (h *crowdedHost) sleeping() int {
	n := 0
	for _, p := range h.lab.Processes() {
		if p.Name == "sleep" {
			n++
		}
	}
	return n
}
