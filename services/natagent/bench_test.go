package natagent_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent"
)

// backends are the firewall backends to compare.
func backends() []string { return []string{natagent.BackendNFTables, natagent.BackendIPTables} }

// crowded starts a natagent with the given number of published ports, from 10000 on.
func crowded(b *testing.B, n *testns.NS, backend string, ports int) *running {
	b.Helper()
	r := startWith(b, n, b.TempDir(), backend, io.Discard)
	for first := 10000; first < 10000+ports; first += 10 {
		last := min(first+10, 10000+ports) - 1
		mustPublish(b, r, request(fmt.Sprint(first), "10.10.1.2", "",
			fmt.Sprintf("%d-%d:1-%d", first, last, last-first+1)))
	}
	return r
}

// each runs a benchmark per backend and number of ports.
func each(b *testing.B, f func(b *testing.B, backend string, ports int)) {
	for _, backend := range backends() {
		for _, ports := range []int{10, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", backend, ports), func(b *testing.B) { f(b, backend, ports) })
		}
	}
}

// report reports the median.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "ns/op")
}

// BenchmarkPublish publishes one port: port socket, state on disk, rules in the kernel.
// The result is the median, without the releases in between.
func BenchmarkPublish(b *testing.B) {
	each(b, func(b *testing.B, backend string, ports int) {
		r := crowded(b, testns.New(b), backend, ports)
		ctx, req := context.Background(), request("one", "10.0.0.3", "", "8080:80")
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			mustPublish(b, r, req)
			took = append(took, time.Since(start))
			if _, err := r.Release(ctx, &natv1.ReleaseRequest{Owner: req.GetOwner()}); err != nil {
				b.Fatal(err)
			}
		}
		report(b, took)
	})
}

// BenchmarkUnpublish releases one port, including its conntrack entries.
func BenchmarkUnpublish(b *testing.B) {
	each(b, func(b *testing.B, backend string, ports int) {
		r := crowded(b, testns.New(b), backend, ports)
		ctx, req := context.Background(), request("one", "10.0.0.3", "", "8080:80")
		var took []time.Duration
		for b.Loop() {
			mustPublish(b, r, req)
			start := time.Now()
			if _, err := r.Release(ctx, &natv1.ReleaseRequest{Owner: req.GetOwner()}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
		report(b, took)
	})
}

// BenchmarkPublishRange publishes a range of 50,001 ports.
func BenchmarkPublishRange(b *testing.B) {
	r, _ := fresh(b)
	ctx, req := context.Background(), request("phone", "10.0.0.3", "", "10000-60000/udp")
	req.Mappings[0].HostPort, req.Mappings[0].HostPortEnd = 10000, 60000
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		mustPublish(b, r, req)
		took = append(took, time.Since(start))
		if _, err := r.Release(ctx, &natv1.ReleaseRequest{Owner: req.GetOwner()}); err != nil {
			b.Fatal(err)
		}
	}

	report(b, took)
}

// BenchmarkRebuild starts a natagent whose rules were flushed.
func BenchmarkRebuild(b *testing.B) {
	for _, backend := range backends() {
		b.Run(backend+"/10000", func(b *testing.B) {
			n, state := testns.New(b), b.TempDir()
			r := startWith(b, n, state, backend, io.Discard)
			for first := 10000; first < 20000; first += 10 {
				mustPublish(b, r, request(fmt.Sprint(first), "10.10.1.2", "",
					fmt.Sprintf("%d-%d:1-10", first, first+9)))
			}
			var took []time.Duration
			for b.Loop() {
				r.stop()
				n.Run("sh", "-ec", "nft flush ruleset; for t in raw nat filter; do iptables-legacy -t $t -F; "+
					"iptables-legacy -t $t -X; done 2>/dev/null || true")
				start := time.Now()
				r = startWith(b, n, state, backend, io.Discard)
				took = append(took, time.Since(start))
			}
			report(b, took)
		})
	}
}

// BenchmarkNewConnection opens a TCP connection to the last published port.
func BenchmarkNewConnection(b *testing.B) {
	each(b, func(b *testing.B, backend string, ports int) {
		s := newSite(b)
		r := crowded(b, s.host, backend, ports-1)
		s.guard(b, r)
		mustPublish(b, r, request("last", "10.10.1.2", "", "9999:80"))
		var took []time.Duration
		s.ext.Do(func() {
			for b.Loop() {
				start := time.Now()
				c, err := net.DialTimeout("tcp", "10.1.0.1:9999", timeout)
				if err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(start))
				_ = c.Close()
			}
		})
		report(b, took)
	})
}
