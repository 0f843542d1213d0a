package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	burst         = 64 // containers that are started concurrently
	services10    = 10 // of the compose project
	rateBytes     = 256 << 20
	dockerRounds  = 3
	composePlugin = ".cache/clients/cli-plugins/docker-compose"
)

// docker measures one client of Docker on the agent's Engine API and on Docker itself. The two take turns.
func (b *bench) docker(ctx context.Context, t *table) error {
	i := slices.IndexFunc(b.peers, func(e *engine) bool { return e.name == "docker" })
	if i < 0 {
		return nil
	}
	theirs := b.peers[i]
	own := *theirs
	own.name, own.host, own.global = "fairlead", b.lab, []string{"-H", "unix://" + b.agent.ExecRoot() + "/docker.sock"}

	dir := filepath.Join(b.lab.Dir, "docker")
	if err := writeRandomFile(filepath.Join(dir, "file"), rateBytes); err != nil {
		return err
	}
	steps := append(dockerRates(dir), dockerStep{what: fmt.Sprintf("%d docker run -d concurrently", burst),
		take: burstOf, wanted: "at most 0.17"})
	if plugin, err := filepath.Abs(composePlugin); err == nil && installed(plugin) {
		compose, err := composeSteps(dir, plugin)
		if err != nil {
			return err
		}
		steps = append(steps, compose...)
	}
	pair := []*engine{&own, theirs}
	for _, e := range pair {
		if _, err := e.run(ctx, "run", "-d", "--name", copied, e.image, "sleep", "100000"); err != nil {
			return err
		}
	}

	if err := takeTurns(ctx, t, pair, steps); err != nil {
		return err
	}
	for _, e := range pair {
		if _, err := e.run(ctx, "rm", "-f", copied); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// dockerStep is a measurement of a client.
type dockerStep struct {
	what   string
	take   func(ctx context.Context, e *engine) (time.Duration, error)
	wanted string
}

// takeTurns measures the steps on two engines.
func takeTurns(ctx context.Context, t *table, pair []*engine, steps []dockerStep) error {
	for _, s := range steps {
		var times [2][]time.Duration
		for range dockerRounds {
			for i, e := range pair {
				took, err := s.take(ctx, e)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", e.name, s.what, err)
				}
				times[i] = append(times[i], took)
			}
		}
		t.add(row{what: s.what, took: median(times[0]), against: pair[1].name, other: median(times[1]),
			wanted: s.wanted})
	}
	return nil
}

// dockerRates returns the steps that move a file of 256 MiB.
func dockerRates(dir string) []dockerStep {
	const each = "at most 1"
	script := func(text string) func(context.Context, *engine) (time.Duration, error) {
		return func(ctx context.Context, e *engine) (time.Duration, error) {
			return e.script(ctx, strings.NewReplacer("DIR", dir, "NAME", e.name).Replace(text))
		}
	}
	return []dockerStep{
		{"docker cp of 256 MiB into a container", script("docker cp DIR/file " + copied + ":/file"), each},
		{"docker cp of 256 MiB out of a container", script("docker cp " + copied + ":/file - >/dev/null"), each},
		{"docker commit of 256 MiB", script("docker commit " + copied + " image"), each},
		{"docker save of 256 MiB", script("docker save -o DIR/NAME.tar image"), each},
		{"docker load of 256 MiB", script("docker rmi image >/dev/null; docker load -i DIR/NAME.tar"), each},
		{"docker run, 128 MiB to its client", script("docker run --rm --log-driver none busybox " +
			"dd if=/dev/zero bs=65536 count=2048 >/dev/null"), each},
	}
}

// script runs a shell script in which docker is the client of the engine.
func (e *engine) script(ctx context.Context, text string) (time.Duration, error) {
	start := time.Now()
	_, err := e.host.Host.Output(ctx, "sh", "-ec",
		fmt.Sprintf("docker() { command %s %s \"$@\"; }\n%s", e.program, strings.Join(e.global, " "), text))
	return time.Since(start), err
}

// burstOf starts containers concurrently. Their removal is not measured.
func burstOf(ctx context.Context, e *engine) (time.Duration, error) {
	var names []string
	for i := range burst {
		names = append(names, fmt.Sprint("burst", i))
	}
	took, err := concurrently(burst, func(i int) error {
		_, err := e.run(ctx, "run", "-d", "--name", names[i], e.image, "sleep", "100000")
		return err
	})
	_, rerr := e.run(ctx, append([]string{"rm", "-f"}, names...)...)
	return took, errors.Join(err, rerr)
}

// composeSteps returns the steps of a compose project. Each round needs both, in this order.
func composeSteps(dir, plugin string) ([]dockerStep, error) {
	file := filepath.Join(dir, "compose.yaml")
	text := "name: bench\nservices:\n"
	for i := range services10 {
		text += fmt.Sprintf("  s%d: {image: busybox, command: sleep 100000, stop_grace_period: 0s}\n", i)
	}
	run := func(ctx context.Context, e *engine, args ...string) (time.Duration, error) {
		start := time.Now()
		_, err := e.host.Host.Output(ctx, "env", append([]string{"DOCKER_HOST=" + e.global[1], plugin, "-f", file},
			args...)...)
		return time.Since(start), err
	}
	step := func(what string, take func(context.Context, *engine) (time.Duration, error)) dockerStep {
		return dockerStep{fmt.Sprintf("compose %s, %d services", what, services10), take, "at most 0.25"}
	}
	return []dockerStep{
		step("up -d", func(ctx context.Context, e *engine) (time.Duration, error) {
			took, err := run(ctx, e, "up", "-d")
			_, derr := run(ctx, e, "down")
			return took, errors.Join(err, derr)
		}),
		step("down", func(ctx context.Context, e *engine) (time.Duration, error) {
			if _, err := run(ctx, e, "up", "-d"); err != nil {
				return 0, err
			}
			return run(ctx, e, "down")
		}),
	}, os.WriteFile(file, []byte(text), 0o644)
}

// writeRandomFile writes a file that does not compress.
func writeRandomFile(path string, size int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeRandom(path, size, 1)
}
