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

// services runs the services' own benchmarks, which stand beside what they measure.
func services(ctx context.Context, t *table) error {
	attach, err := goBench(ctx, "./services/netagent/kernel", "^Benchmark(CreateSandbox|RawNetlinkSequence)$")
	if err != nil {
		return err
	}
	t.add(row{"attach to bridge", attach["CreateSandbox"], "the same objects by raw netlink", attach["RawNetlinkSequence"], "at most 2"})
	publish, err := goBench(ctx, "./services/natagent", "^BenchmarkPublish$")
	if err != nil {
		return err
	}
	t.add(row{"publish a port, 10,000 published", publish["Publish/10000"], "publish a port, 10 published", publish["Publish/10"], "about 1; under 1 ms"})
	return nil
}

// result is a line such as "BenchmarkPublish/10-2   1234   98765 ns/op".
var result = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// goBench runs benchmarks of a package five times and answers the medians by name.
func goBench(ctx context.Context, pkg, pattern string) (map[string]time.Duration, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "200x", "-count", "5", pkg)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	times := map[string][]time.Duration{}
	for _, m := range result.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		times[m[1]] = append(times[m[1]], time.Duration(ns))
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("%s: no results in\n%s", strings.Join(cmd.Args, " "), out)
	}
	medians := map[string]time.Duration{}
	for name, all := range times {
		medians[name] = median(all)
	}
	return medians, nil
}
