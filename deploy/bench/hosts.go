package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	manyHosts  = 20
	closedPort = "9" // a container answers on it that it is closed
	replyTime  = 5 * time.Second
	replyRetry = 50 * time.Millisecond
)

// manyHosts measures a fleet of twenty hosts: its memory, how soon the first container of a host is reached from all
// hosts before it, and names at 50 changes a second.
func (b *bench) manyHosts(ctx context.Context, t *table) error {
	f, err := b.newFleetHosts(ctx, manyHosts)
	if err != nil {
		return err
	}
	defer f.lan.Close()

	alone, _ := f.hosts[manyHosts-1].Memory("fairlead-agent")
	if err := f.joinMany(ctx, t); err != nil {
		return err
	}
	if err := f.firstContainers(ctx, t); err != nil {
		return err
	}
	size, _ := f.hosts[manyHosts-1].Memory("fairlead-agent")
	t.add(row{what: fmt.Sprintf("memory of an agent with a fleet of %d, more", manyHosts), size: max(1, size-alone),
		wanted: "at most 12 MB"})
	return changedNames(ctx, t)
}

// joinMany creates a fleet of all hosts.
func (f *fleetHosts) joinMany(ctx context.Context, t *table) error {
	if err := f.all(ctx, "1 fleet init --name host1 --address 10.99.0.1"); err != nil {
		return err
	}
	token, _, err := f.cli(ctx, 1, fmt.Sprintf("fleet token -q --uses %d", manyHosts))
	if err != nil {
		return err
	}
	var took []time.Duration
	for n := 2; n <= manyHosts; n++ {
		out, d, err := f.cli(ctx, n, fmt.Sprintf("fleet join --name host%d %s", n, token))
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		took = append(took, d)
	}
	t.add(row{what: fmt.Sprintf("fleet join, up to %d hosts", manyHosts), took: median(took), against: "slowest",
		other: slices.Max(took), wanted: "at most 2 s"})
	return f.all(ctx, "1 network create -d overlay --subnet "+fleetSubnet+" app")
}

// firstContainers starts a container on each host, which connects to those of the hosts before it.
func (f *fleetHosts) firstContainers(ctx context.Context, t *table) error {
	var before []*lab.Machine
	var replies []time.Duration
	for n := 1; n <= manyHosts; n++ {
		name := fmt.Sprint("c", n)
		out, _, err := f.cli(ctx, n, "run -d --name "+name+" --network app busybox sleep 1000")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		started := time.Now()
		address, err := f.address(ctx, n, name)
		if err != nil {
			return err
		}
		took, err := reached(before, address, started)
		if err != nil {
			return fmt.Errorf("host %d: %w", n, err)
		}
		replies = append(replies, took...)
		container, err := f.inside(ctx, n, name)
		if err != nil {
			return err
		}
		before = append(before, container)
	}
	t.add(row{what: "first container of a host, reached from 1 to 19", took: median(replies),
		against: fmt.Sprintf("slowest of %d", len(replies)), other: slices.Max(replies),
		wanted: "at most 100 ms, with an inspect"})
	return nil
}

// reached returns after what time each container has reached an address.
func reached(from []*lab.Machine, address string, started time.Time) ([]time.Duration, error) {
	took, errs := make([]time.Duration, len(from)), make([]error, len(from))
	var probes sync.WaitGroup
	for i, m := range from {
		probes.Go(func() {
			for errs[i] = errors.New("no reply"); time.Since(started) < replyTime; {
				conn, err := m.Dial("tcp", net.JoinHostPort(address, closedPort), replyRetry)
				took[i] = time.Since(started)
				if errs[i] = err; err == nil {
					errs[i] = conn.Close()
				}
				if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
					errs[i] = nil
					return
				}
			}
		})
	}
	probes.Wait()
	return took, errors.Join(errs...)
}

// changedNames measures names of a fleet in one process, without resolvers.
func changedNames(ctx context.Context, t *table) error {
	const changes = 500
	got, err := goBenchTimes(ctx, "./services/fleetagent/internal/fleet", "^BenchmarkNames$", changes, 1)
	if err != nil {
		return err
	}
	for name, wanted := range map[string]string{"median": "at most 10 ms", "p99": "at most 100 ms"} {
		t.add(row{what: "name at all 10 hosts, 50 changes/s, " + name, took: got["Names/"+name], wanted: wanted})
	}
	return nil
}
