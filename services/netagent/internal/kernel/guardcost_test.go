package kernel_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/sandbox"
)

// BenchmarkGuardedLaunch compares launches with and without the port guard. It alternates them in
// one run, as the load of the machine changes. It reports the medians in microseconds.
func BenchmarkGuardedLaunch(b *testing.B) {
	measure := func(guarded bool) *sandbox.Manager {
		if guarded {
			_ = os.Unsetenv("UNGUARDED")
		} else {
			b.Setenv("UNGUARDED", "1")
		}
		return manager(b, testns.New(b))
	}
	managers := map[string]*sandbox.Manager{"unguarded-us": measure(false), "guarded-us": measure(true)}
	times := map[string][]time.Duration{}
	for b.Loop() {
		for name, m := range managers {
			owner := id.New()
			begin := time.Now()
			if _, err := m.Create(context.Background(),
				endpoint.Request{Owner: owner, Mode: endpoint.Private,
					Endpoints: []endpoint.Spec{{Network: "bridge"}}}); err != nil {
				b.Fatal(err)
			}
			times[name] = append(times[name], time.Since(begin))
			if err := m.Release(context.Background(), owner, endpoint.ReleaseKeep{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for name, all := range times {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), name)
	}
}
