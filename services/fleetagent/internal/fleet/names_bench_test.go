package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// BenchmarkNames changes names on one host, 50 a second, and measures the time until the services of all other hosts
// have each.
func BenchmarkNames(b *testing.B) {
	var took []time.Duration
	run := func(name string, part float64) {
		b.Run(name, func(b *testing.B) {
			if b.N == 1 {
				return // the attempt before the measurement
			}
			if took == nil {
				took = changeNames(b, b.N)
			}
			b.ReportMetric(float64(took[int(part*float64(len(took)-1))]), "ns/op")
		})
	}
	run("median", 0.5)
	run("p99", 0.99)
}

// changeNames returns the sorted times of changes.
func changeNames(b *testing.B, changes int) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	hosts := make([]*host, maxHosts)
	for n := range hosts {
		hosts[n] = newHost(b, n+1)
	}
	one := hosts[0]
	one.found()
	for _, h := range hosts[1:] {
		h.join(one.token(1))
	}
	_, err := one.create(1, "app", "10.5.0.0/16")
	must0(b, err)

	seen := make(chan string, changes*len(hosts))
	var watches sync.WaitGroup
	defer watches.Wait()
	defer cancel()
	for _, h := range hosts[1:] {
		must0(b, h.MarkNetworkUp(ctx, netID(1)))
		watches.Go(func() {
			_ = h.WatchEndpoints(ctx, func(m *fleetv1.WatchEndpointsResponse) error {
				for _, e := range m.GetEndpoints() {
					seen <- e.GetNames()[0]
				}
				return nil
			})
		})
	}

	started, counts, done := sync.Map{}, map[string]int{}, make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for len(took) < changes {
			name := <-seen
			if counts[name]++; counts[name] == len(hosts)-1 {
				at, _ := started.Load(name)
				took = append(took, time.Since(at.(time.Time))) //nolint:forcetypeassert // stored below
			}
		}
		done <- took
	}()
	tick := time.NewTicker(time.Second / 50)
	defer tick.Stop()
	for n := range changes {
		<-tick.C
		name := fmt.Sprint("name", n)
		started.Store(name, time.Now())
		must0(b, one.PublishEndpoints(ctx, &fleetv1.PublishEndpointsRequest{Endpoints: []*fleetv1.OverlayEndpoint{
			{NetworkId: netID(1), Owner: fmt.Sprint("c", n), Names: []string{name}, Addresses: []string{"10.5.0.2"}}}}))
	}
	select {
	case took := <-done:
		slices.Sort(took)
		return took
	case <-time.After(waitLimit):
		b.Fatal("names are missing")
		return nil
	}
}
