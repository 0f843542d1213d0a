package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/nameload"
)

const (
	fleetRounds = 20
	fleetSubnet = "10.128.0.0/20"
)

// fleetHosts is a fleet of three hosts on one LAN.
type fleetHosts struct {
	*bench
	lan    *lab.LAN
	hosts  []*lab.Lab
	agents []*lab.Agent
}

// newFleetHosts returns hosts on one LAN, each with an agent.
func (b *bench) newFleetHosts(ctx context.Context, count int) (*fleetHosts, error) {
	lan, err := lab.NewLAN(ctx)
	if err != nil {
		return nil, err
	}
	f := &fleetHosts{bench: b, lan: lan}
	for n := 1; n <= count; n++ {
		l, a, err := b.host(ctx)
		if err == nil {
			err = lan.Attach(ctx, l.Host, fmt.Sprint("port", n), fmt.Sprintf("10.99.0.%d/24", n))
		}
		if err != nil {
			lan.Close()
			return nil, err
		}
		f.hosts, f.agents = append(f.hosts, l), append(f.agents, a)
	}
	return f, nil
}

// fleet measures joining, overlay networks across hosts, and the loss of the store's leader.
func (b *bench) fleet(ctx context.Context, t *table) error {
	f, err := b.newFleetHosts(ctx, 3)
	if err != nil {
		return err
	}
	defer f.lan.Close()

	for _, step := range []func(context.Context, *table) error{f.join, f.launches, f.reach, f.transfer, f.leader,
		f.leave} {
		if err := step(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// cli runs a command on host n, counted from 1, and returns its output and how long it took.
func (f *fleetHosts) cli(ctx context.Context, n int, args string) (string, time.Duration, error) {
	start := time.Now()
	out, err := f.agents[n-1].CLI(ctx, strings.Fields(args)...)
	return strings.TrimSpace(out), time.Since(start), err
}

func (f *fleetHosts) all(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		n, args, _ := strings.Cut(c, " ")
		host, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		if out, _, err := f.cli(ctx, host, args); err != nil {
			return fmt.Errorf("%s: %w\n%s", c, err, out)
		}
	}
	return nil
}

// join measures how long two hosts take to join.
func (f *fleetHosts) join(ctx context.Context, t *table) error {
	if err := f.all(ctx, "1 fleet init --name one --address 10.99.0.1"); err != nil {
		return err
	}
	var took []time.Duration
	for n, name := range []string{"two", "three"} {
		token, _, err := f.cli(ctx, 1, "fleet token -q")
		if err != nil {
			return err
		}
		out, d, err := f.cli(ctx, n+2, "fleet join --name "+name+" "+token)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		took = append(took, d)
	}
	t.add(row{what: "fleet join, with all checks", took: median(took), wanted: "at most 2 s"})
	return nil
}

// launches compares run on an overlay network with run on a bridge.
func (f *fleetHosts) launches(ctx context.Context, t *table) error {
	if err := f.all(ctx, "1 network create -d overlay --subnet "+fleetSubnet+" app", "1 network create local",
		"1 run -d --name a1 --network app busybox sleep 1000", "1 run -d --name b1 --network local busybox sleep 1000",
		"2 run -d --name a2 --network app busybox sleep 1000"); err != nil {
		return err
	}
	took := map[string][]time.Duration{}
	networks := []string{"app", "local"}
	for range fleetRounds {
		slices.Reverse(networks) // what is measured first in a round is often slower
		for _, network := range networks {
			out, d, err := f.cli(ctx, 1, "run --rm --network "+network+" busybox true")
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			took[network] = append(took[network], d)
		}
	}
	t.add(row{what: "run --rm busybox true, on overlay", took: median(took["app"]), against: "on a bridge",
		other: median(took["local"]), wanted: "at most 1.05"})
	return nil
}

// reach measures how long the first reply of a new container on another host takes, and until its name is known.
func (f *fleetHosts) reach(ctx context.Context, t *table) error {
	from, err := f.inside(ctx, 1, "a1")
	if err != nil {
		return err
	}
	var replies, names []time.Duration
	for i := range fleetRounds {
		name := fmt.Sprint("n", i)
		if err := f.all(ctx, "2 run -d --name "+name+" --network app busybox sleep 1000"); err != nil {
			return err
		}
		started := time.Now()
		address, err := f.address(ctx, 2, name)
		if err != nil {
			return err
		}
		known, err := known(ctx, from, name, address, started)
		if err != nil {
			return err
		}
		reply, err := f.firstReply(ctx, address)
		if err != nil {
			return err
		}
		replies, names = append(replies, reply), append(names, known)
		if err := f.all(ctx, "2 rm -f "+name); err != nil {
			return err
		}
	}
	t.add(row{what: "first reply of a container on another host", took: median(replies), against: "slowest of 20",
		other: slices.Max(replies), wanted: "at most 1 ms and 20 ms"})
	t.add(row{what: "its name known there, with an inspect", took: median(names), against: "slowest of 20",
		other: slices.Max(names), wanted: "at most 10 ms and 100 ms, without"})
	return nil
}

// inside returns the network namespace of a container of host n as a machine.
func (f *fleetHosts) inside(ctx context.Context, n int, container string) (*lab.Machine, error) {
	path, _, err := f.cli(ctx, n, "inspect -f {{.NetworkSettings.SandboxKey}} "+container)
	if err != nil {
		return nil, err
	}
	return lab.On(f.hosts[n-1].Root(path))
}

func (f *fleetHosts) address(ctx context.Context, n int, container string) (string, error) {
	out, _, err := f.cli(ctx, n, "inspect -f {{.NetworkSettings.Networks.app.IPAddress}} "+container)
	return out, err
}

// known waits until a name is answered with an address, and returns the time since started.
func known(ctx context.Context, from *lab.Machine, name, address string, started time.Time) (time.Duration, error) {
	for ctx.Err() == nil {
		conn, err := from.Dial("udp", "127.0.0.11:53", time.Second)
		if err != nil {
			return 0, err
		}
		result, err := nameload.Flood{Name: name, Address: address, Count: 1}.Run(conn)
		_ = conn.Close()
		if err == nil && result.Answered == 1 {
			return time.Since(started), nil
		}
	}
	return 0, ctx.Err()
}

// firstReply returns the time of the first ping of container a1 to an address.
func (f *fleetHosts) firstReply(ctx context.Context, address string) (time.Duration, error) {
	out, _, err := f.cli(ctx, 1, "exec a1 ping -c1 -W5 "+address)
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(out, "time=")
	text, _, _ := strings.Cut(rest, " ms")
	ms, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("ping of %s prints %q", address, out)
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}

// leader kills each member of the store in turn, and measures the time until a write is accepted again.
func (f *fleetHosts) leader(ctx context.Context, t *table) error {
	if err := f.all(ctx, "1 fleet promote two", "1 fleet promote three"); err != nil {
		return err
	}
	for out := ""; strings.Count(out, "https://") != 3; { // three voters
		var err error
		if out, _, err = f.cli(ctx, 1, "fleet inspect -f {{.Store}}"); err != nil {
			return err
		}
	}
	var slowest time.Duration
	for n := range f.hosts {
		if err := f.hosts[n].Kill(ctx, "fairlead-store"); err != nil {
			return err
		}
		out, took, err := f.cli(ctx, (n+1)%len(f.hosts)+1, "fleet token -q")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		slowest = max(slowest, took)
		for out := ""; strings.Count(out, "alive") != len(f.hosts); {
			if out, _, err = f.cli(ctx, 1, "fleet ls --format {{.State}}"); err != nil {
				return err
			}
		}
	}
	t.add(row{what: "the store's leader killed, until a write", took: slowest, wanted: "at most 3 s"})
	size, count := f.hosts[1].Memory("fairlead-store")
	t.add(row{what: "memory of the store on one manager", size: size / int64(max(1, count)), wanted: "at most 50 MB"})
	return nil
}

// leave ends the fleet.
func (f *fleetHosts) leave(ctx context.Context, _ *table) error {
	return f.all(ctx, "1 rm -f a1 b1", "2 rm -f a2", "1 network rm app local", "3 fleet leave", "2 fleet leave",
		"1 fleet leave")
}
