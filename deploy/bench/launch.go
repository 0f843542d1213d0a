package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// rounds is the number of measurements of each launch.
const rounds = 25

// baseline is a measured command.
type baseline struct {
	name string
	run  func(ctx context.Context) error
}

// launches measures run --rm against bare runs and the peers, and a detached run with a published
// port.
func (b *bench) launches(ctx context.Context, t *table) error {
	bare, err := b.bare(ctx)
	if err != nil {
		return err
	}

	all := append([]baseline{b.fairlead.runTrue()}, bare...)
	for _, p := range b.peers {
		all = append(all, p.runTrue())
	}
	took, err := interleaved(ctx, all)
	if err != nil {
		return err
	}

	wanted := map[string]string{sameBundle: "at most 2", "docker run --rm busybox true": "at most 0.1"}
	for _, p := range all[1:] {
		t.add(row{what: "run --rm busybox true, on bridge", took: took[all[0].name], against: p.name,
			other: took[p.name], wanted: wanted[p.name]})
	}

	if _, err := b.agent.CLI(ctx, "rm", "-f", model); err != nil {
		return err
	}

	published, err := b.published(ctx)
	t.add(row{what: "run -d -p 8080:80 nginx, until the id is there", took: published})
	return err
}

// runTrue returns the launch of a container whose process exits immediately. Options precede the image.
func (e *engine) runTrue(options ...string) baseline {
	args := slices.Concat([]string{"run", "--rm"}, options, []string{e.image, "true"})
	return baseline{name: e.name + " run --rm busybox true", run: func(ctx context.Context) error {
		_, err := e.run(ctx, args...)
		return err
	}}
}

// options measures what volumes, a limit and a health check add to a launch, each of them and all together.
func (b *bench) options(ctx context.Context, t *table) error {
	groups := map[string][]string{
		"2 volumes": {"-v", "data1:/data1", "-v", "data2:/data2"},
		"memory":    {"--memory", "64m"},
		"health":    {"--health-cmd", "true", "--health-interval", "1m"},
	}
	const full = "2 volumes, memory, health"
	groups[full] = slices.Concat(groups["2 volumes"], groups["memory"], groups["health"])
	for _, e := range append([]*engine{b.fairlead}, b.peers...) {
		all := []baseline{e.runTrue()}
		for name, options := range groups {
			if name == full || e == b.fairlead {
				with := e.runTrue(options...)
				with.name = name
				all = append(all, with)
			}
		}
		took, err := interleaved(ctx, all)
		if err != nil {
			return err
		}

		plain := took[all[0].name]
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			if took[name] == 0 {
				continue
			}
			wanted := ""
			if name == full && e == b.fairlead {
				wanted = "at most 2 ms more"
			}
			t.add(row{what: fmt.Sprintf("%s run --rm, %s: %+.1f ms", e.name, name,
				(took[name]-plain).Seconds()*1000), took: took[name], against: "plain", other: plain, wanted: wanted})
		}
	}

	_, err := b.fairlead.run(ctx, "volume", "rm", "data1", "data2")
	return err
}

// interleaved returns the median time of each baseline. The baselines take turns, so that a short
// load of the machine affects all of them. A first turn fills the caches and is not measured.
func interleaved(ctx context.Context, all []baseline) (map[string]time.Duration, error) {
	times := map[string][]time.Duration{}
	for i := range rounds + 1 {
		for _, p := range all {
			start := time.Now()
			if err := p.run(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			if i > 0 {
				times[p.name] = append(times[p.name], time.Since(start))
			}
		}
	}

	medians := map[string]time.Duration{}
	for name, all := range times {
		medians[name] = median(all)
	}

	return medians, nil
}

// published measures a detached run with a published port until the command returns. The removal is
// not measured.
func (b *bench) published(ctx context.Context) (time.Duration, error) {
	var times []time.Duration
	for range rounds {
		start := time.Now()
		if _, err := b.agent.CLI(ctx, "run", "-d", "--name", "web", "-p", "8080:80", "nginx"); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
		if _, err := b.agent.CLI(ctx, "rm", "-f", "web"); err != nil {
			return 0, err
		}
	}

	return median(times), nil
}

// crowd is the number of containers that are started concurrently.
const crowd = 50

// many measures concurrent starts and concurrent removals of containers.
func (b *bench) many(ctx context.Context, t *table) error {
	started, err := concurrently(crowd, func(i int) error {
		name := fmt.Sprint("crowd", i)
		_, err := b.agent.CLI(ctx, "run", "-d", "--name", name, "-p", "80", "busybox", "sleep", "1000")
		return err
	})
	if err != nil {
		return err
	}

	removed, err := concurrently(crowd, func(i int) error {
		_, err := b.agent.CLI(ctx, "rm", "-f", fmt.Sprint("crowd", i))
		return err
	})
	if err != nil {
		return err
	}

	t.add(row{what: fmt.Sprintf("%d run -d -p 80 concurrently, each", crowd), took: started / crowd})
	t.add(row{what: fmt.Sprintf("%d rm -f concurrently, each", crowd), took: removed / crowd})
	return b.agent.CheckLeftovers(ctx)
}

// concurrently calls do for a number of containers concurrently and returns the total time.
func concurrently(count int, do func(i int) error) (time.Duration, error) {
	start, results := time.Now(), make(chan error)
	for i := range count {
		go func() { results <- do(i) }()
	}
	var errs []error
	for range count {
		errs = append(errs, <-results)
	}
	return time.Since(start), errors.Join(errs...)
}
