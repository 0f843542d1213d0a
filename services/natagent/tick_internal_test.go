package natagent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// cpu returns the CPU time of this process and its children.
func cpu() (all time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		_ = unix.Getrusage(who, &u)
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return all
}

// BenchmarkTick measures the CPU time of a resync without changes.
func BenchmarkTick(b *testing.B) {
	for _, backend := range []string{BackendNFTables, BackendIPTables} {
		for _, many := range []int{50, 500} {
			b.Run(fmt.Sprintf("%s/%d", backend, many), func(b *testing.B) { tick(b, backend, many) })
		}
	}
}

func tick(b *testing.B, backend string, networks int) {
	ctx := context.Background()
	s, err := New(ctx, Config{DataRoot: b.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		NetNS: testns.New(b).Fd(), FirewallBackend: backend})

	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for i := range networks {
		n := &firewall.Network{ID: fmt.Sprintf("%064x", i), Bridge: fmt.Sprint("br", i), Masquerade: true, ICC: true,
			Subnets: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/26", i/256, i%256))}}
		if err := s.store.PutNetwork(n); err != nil {
			b.Fatal(err)
		}
	}

	var before time.Duration
	for b.Loop() {
		if before == 0 { // the first run writes the rules
			if err := s.reconciler.Repair(ctx); err != nil {
				b.Fatal(err)
			}
			before = cpu()
		}
		if err := s.reconciler.Repair(ctx); err != nil {
			b.Fatal(err)
		}
		if err := s.syncForwardPolicies(ctx); err != nil {
			b.Fatal(err)
		}
	}

	b.ReportMetric(float64(cpu()-before)/float64(b.N), "ns/op")
}
