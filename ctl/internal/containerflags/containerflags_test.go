package containerflags_test

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/ctl/internal/containerflags"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// parse adds flags to a set and parses arguments.
func parse(t *testing.T, args string, add ...func(*pflag.FlagSet)) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	for _, a := range add {
		a(f)
	}
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return f
}

func TestResources(t *testing.T) {
	var none containerflags.Resources
	if got := none.Values(parse(t, "", none.Add)); got != nil {
		t.Errorf("no flags: got %v", got)
	}

	var r containerflags.Resources
	got := r.Values(parse(t, "-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 0 --device-read-bps /dev/sda:1mb", r.Add))
	if got.GetMemory() != 64<<20 || got.GetMemorySwap() != -1 || got.GetNanoCpus() != 1_500_000_000 {
		t.Errorf("got %v", got)
	}
	if d := got.GetDeviceReadBps(); len(d) != 1 || d[0].GetPath() != "/dev/sda" || d[0].GetRate() != 1<<20 {
		t.Errorf("got device rates %v", d)
	}
}

func TestHealth(t *testing.T) {
	for args, want := range map[string]*containerv1.HealthCheck{
		"":                 nil,
		"--no-healthcheck": {Test: []string{"NONE"}},
		"--health-cmd true --health-interval 5s --health-retries 2": {Test: []string{"CMD-SHELL", "true"},
			Interval: durationpb.New(5 * time.Second), Retries: 2},
	} {
		var h containerflags.Health
		parse(t, args, h.Add)
		if got, err := h.Value(); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: got %v, error %v, want %v", args, got, err, want)
		}
	}

	var h containerflags.Health
	parse(t, "--no-healthcheck --health-cmd true", h.Add)
	if _, err := h.Value(); err == nil || !strings.Contains(err.Error(), "conflicts with") {
		t.Errorf("got error %v", err)
	}
}

func TestParseRestart(t *testing.T) {
	for in, want := range map[string]*containerv1.RestartPolicy{
		"": nil, "always": {Name: "always"}, "on-failure:3": {Name: "on-failure", MaximumRetryCount: 3},
	} {
		if got, err := containerflags.ParseRestart(in); err != nil || !proto.Equal(got, want) {
			t.Errorf("%q: got %v, error %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{":3", "on-failure:many"} {
		if got, err := containerflags.ParseRestart(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}
