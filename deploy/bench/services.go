package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// services runs the Go benchmarks of the services.
func services(ctx context.Context, t *table) error {
	attach, err := goBench(ctx, "./services/netagent/internal/kernel", "^Benchmark(CreateSandbox|RawNetlinkSequence)$")
	if err != nil {
		return err
	}
	t.add(row{what: "attach to bridge", took: attach["CreateSandbox"],
		against: "the same objects by raw netlink", other: attach["RawNetlinkSequence"], wanted: "at most 2"})
	return firewalls(ctx, t)
}

// firewalls measures natagent with both firewall backends.
func firewalls(ctx context.Context, t *table) error {
	const pkg = "./services/natagent"
	got, err := goBench(ctx, pkg, "^BenchmarkPublish(Range)?$")
	if err != nil {
		return err
	}

	few, err := goBenchTimes(ctx, pkg, "^Benchmark(Unpublish|Rebuild)$", 20, 1)
	if err != nil {
		return err
	}

	connect, err := goBenchTimes(ctx, pkg, "^BenchmarkNewConnection$", 1000, 3)
	if err != nil {
		return err
	}

	for _, backend := range []string{"nftables", "iptables"} {
		wanted := map[string]string{"nftables": "about 1; under 1 ms"}[backend]
		t.add(row{what: "publish a port, 10,000 published, " + backend, took: got["Publish/"+backend+"/10000"],
			against: "10 published", other: got["Publish/"+backend+"/10"], wanted: wanted})
		t.add(row{what: "withdraw a port, 10,000 published, " + backend, took: few["Unpublish/"+backend+"/10000"],
			against: "10 published", other: few["Unpublish/"+backend+"/10"]})
		wanted = map[string]string{"nftables": "at most 1.15"}[backend]
		t.add(row{what: "new connection, last of 10,000 ports, " + backend,
			took:    connect["NewConnection/"+backend+"/10000"],
			against: "of 10 ports", other: connect["NewConnection/"+backend+"/10"], wanted: wanted})
		t.add(row{what: "new connection, last of 1,000 ports, " + backend,
			took:    connect["NewConnection/"+backend+"/1000"],
			against: "of 10 ports", other: connect["NewConnection/"+backend+"/10"], wanted: wanted})
	}

	t.add(row{what: "start with 10,000 ports and no rules, nftables", took: few["Rebuild/nftables/10000"],
		against: "iptables", other: few["Rebuild/iptables/10000"]})
	t.add(row{what: "publish 50,001 ports as a range", took: got["PublishRange"],
		against: "one port", other: got["Publish/nftables/10"], wanted: "under 10 ms"})
	return nil
}

// result matches a line such as "BenchmarkPublish/10-2   1234   98765 ns/op".
var result = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// goBench runs benchmarks of a package five times and returns the medians by name.
func goBench(ctx context.Context, pkg, pattern string) (map[string]time.Duration, error) {
	return goBenchTimes(ctx, pkg, pattern, 200, 5)
}

// goBenchTimes is like goBench with the given number of iterations and runs.
func goBenchTimes(ctx context.Context, pkg, pattern string, iterations, times int) (map[string]time.Duration, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-timeout", "20m",
		"-benchtime", strconv.Itoa(iterations)+"x", "-count", strconv.Itoa(times), pkg)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}

	took := map[string][]time.Duration{}
	for _, m := range result.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		took[m[1]] = append(took[m[1]], time.Duration(ns))
	}

	if len(took) == 0 {
		return nil, fmt.Errorf("%s: no results in\n%s", strings.Join(cmd.Args, " "), out)
	}

	medians := map[string]time.Duration{}
	for name, all := range took {
		medians[name] = median(all)
	}

	return medians, nil
}
