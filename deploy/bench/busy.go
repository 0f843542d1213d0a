package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What a user waits for on a busy host: commands, with as many containers running.
const (
	someRunning, manyRunning = 100, 300

	busyRounds = 21
	cpuRounds  = 100
	idleFor    = 20 * time.Second
	atOnceBusy = 4
)

// command is one that is measured; after undoes it, or prepares the next.
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
		{what: "run -d -p 8080:80", args: []string{"run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "1000"}, wanted: grows},
		{what: "rm -f", args: []string{"rm", "-f", "web"}, wanted: grows},
		{what: "publish", args: []string{"publish", "target", "8081:80"}, wanted: grows},
		{what: "unpublish", args: []string{"unpublish", "target", "8081:80"}, wanted: grows},
		{what: "network connect", args: []string{"network", "connect", "second", "target"},
			after: []string{"network", "disconnect", "second", "target"}, wanted: grows},
	}
}

// busy measures commands with no, some and many containers beside them.
func (b *bench) busy(ctx context.Context, t *table) error {
	for _, args := range [][]string{{"network", "create", "second"}, {"run", "-d", "--name", "target", "busybox", "sleep", "100000"}} {
		if _, err := b.agent.CLI(ctx, args...); err != nil {
			return err
		}
	}
	took, cpu := map[int]map[string]time.Duration{}, map[int]time.Duration{}
	running := 0
	for _, count := range []int{0, someRunning, manyRunning} {
		err := b.crowded(ctx, running, count)
		if err != nil {
			return err
		}
		running = count
		if took[count], err = b.wait(ctx); err != nil {
			return err
		}
		if cpu[count], err = b.cpuOfPublish(ctx); err != nil {
			return err
		}
	}
	report(t, took, cpu)
	if err := b.settled(ctx, t); err != nil {
		return err
	}
	return b.emptied(ctx)
}

// emptied removes all that busy has made.
func (b *bench) emptied(ctx context.Context) error {
	out, err := b.agent.CLI(ctx, "ps", "-aq")
	if err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, append([]string{"rm", "-f"}, strings.Fields(out)...)...); err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, "network", "rm", "second"); err != nil {
		return err
	}
	return b.agent.Clean(ctx)
}

// report adds the rows of commands.
func report(t *table, took map[int]map[string]time.Duration, cpu map[int]time.Duration) {
	for _, c := range commands() {
		for _, count := range []int{someRunning, manyRunning} {
			t.add(row{fmt.Sprintf("%s, %d running", c.what, count), took[count][c.what], "none running", took[0][c.what], c.wanted})
		}
	}
	for _, what := range []string{"publish", "unpublish"} {
		for _, count := range []int{0, manyRunning} {
			over := took[count][what] - took[count]["version"]
			t.add(row{what: fmt.Sprintf("%s, over version, %d running", what, count), took: over, wanted: "at most 4 ms"})
		}
	}
	for _, count := range []int{0, someRunning, manyRunning} {
		t.add(row{what: fmt.Sprintf("the agent's CPU for a publish or unpublish, %d running", count), took: cpu[count], wanted: "under 2 ms"})
	}
}

// crowded starts containers until so many run.
func (b *bench) crowded(ctx context.Context, have, want int) error {
	next, results := make(chan int), make(chan error, atOnceBusy)
	for range atOnceBusy {
		go func() {
			var errs []error
			for i := range next {
				_, err := b.agent.CLI(ctx, "run", "-d", "--name", fmt.Sprint("beside", i), "busybox", "sleep", "100000")
				errs = append(errs, err)
			}
			results <- errors.Join(errs...)
		}()
	}
	for i := have; i < want; i++ {
		next <- i
	}
	close(next)
	var errs []error
	for range atOnceBusy {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// wait measures all commands, in turns. One more turn before warms what can be warm.
func (b *bench) wait(ctx context.Context) (map[string]time.Duration, error) {
	times := map[string][]time.Duration{}
	for i := range busyRounds + 1 {
		for _, c := range commands() {
			start := time.Now()
			if _, err := b.agent.CLI(ctx, c.args...); err != nil {
				return nil, err
			}
			if i > 0 {
				times[c.what] = append(times[c.what], time.Since(start))
			}
			if c.after == nil {
				continue
			}
			if _, err := b.agent.CLI(ctx, c.after...); err != nil {
				return nil, err
			}
		}
	}
	medians := map[string]time.Duration{}
	for what, all := range times {
		medians[what] = median(all)
	}
	return medians, nil
}

// cpuOfPublish is what the agent needs for one publish and its end, halved.
func (b *bench) cpuOfPublish(ctx context.Context) (time.Duration, error) {
	before, err := b.agent.CPU()
	if err != nil {
		return 0, err
	}
	for range cpuRounds {
		for _, verb := range []string{"publish", "unpublish"} {
			if _, err := b.agent.CLI(ctx, verb, "target", "8081:80"); err != nil {
				return 0, err
			}
		}
	}
	after, err := b.agent.CPU()
	return (after - before) / (2 * cpuRounds), err
}

// settled measures what costs something when nobody asks for anything: idling, and starting again.
func (b *bench) settled(ctx context.Context, t *table) error {
	time.Sleep(2 * time.Second)
	before, err := b.agent.CPU()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleFor):
	}
	after, err := b.agent.CPU()
	if err != nil {
		return err
	}
	t.add(row{what: fmt.Sprintf("the agent's CPU for an idle second, %d running", manyRunning), took: (after - before) / (idleFor / time.Second), wanted: "under 5 ms"})

	var times []time.Duration
	for range 5 {
		if err := b.agent.Stop(syscall.SIGTERM); err != nil {
			return err
		}
		start := time.Now()
		if err := b.agent.Start(ctx); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	t.add(row{what: fmt.Sprintf("start of the agent until ps answers, %d running", manyRunning), took: median(times), wanted: "at most 500 ms"})
	out, err := b.agent.CLI(ctx, "ps", "-q")
	if n := len(strings.Fields(out)); err == nil && n != manyRunning+1 {
		err = fmt.Errorf("%d containers run, want %d", n, manyRunning+1)
	}
	return err
}
