package netagent

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
)

// BenchmarkGuardedThroughput measures TCP between two containers, alternately with and without the
// port guard. It reports medians in Gbit/s.
func BenchmarkGuardedThroughput(b *testing.B) {
	type pair struct {
		a        *agent
		from, to endpoint.Sandbox
	}

	pairs := map[bool]pair{}
	for _, guarded := range []bool{false, true} {
		h := newHost(b)
		h.cfg.unguarded = !guarded
		a := h.run()
		pairs[guarded] = pair{a, a.container(), a.container()}
	}

	rates := map[bool][]float64{}
	for b.Loop() {
		for guarded, p := range pairs {
			rates[guarded] = append(rates[guarded], stream(b, p.from, p.to))
		}
	}

	median := map[bool]float64{}
	for guarded, all := range rates {
		slices.Sort(all)
		median[guarded] = all[len(all)/2]
	}

	b.ReportMetric(median[true], "guarded-Gbit/s")
	b.ReportMetric(median[false], "unguarded-Gbit/s")
	b.ReportMetric(median[true]/median[false], "ratio")
}

// stream sends from one sandbox to another for 300 ms and returns the rate in Gbit/s.
func stream(b *testing.B, from, to endpoint.Sandbox) float64 {
	const span = 300 * time.Millisecond
	var l net.Listener
	var out net.Conn
	inside := func(sb endpoint.Sandbox, f func() error) {
		if err := kernel.WithPinned(sb.NetnsPath, func(*kernel.Namespace) error { return f() }); err != nil {
			b.Fatal(err)
		}
	}

	inside(to, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(to.Endpoints[0].IPv4.Addr().String(), "5001"))
		return err
	})
	defer l.Close()
	inside(from, func() (err error) {
		out, err = net.Dial("tcp", l.Addr().String())
		return err
	})

	in, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}

	done := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, struct{ io.Reader }{in})
		done <- n
	}()

	buf := make([]byte, 128<<10)
	begin := time.Now()
	for time.Since(begin) < span {
		if _, err := out.Write(buf); err != nil {
			b.Fatal(err)
		}
	}

	_ = out.Close()
	n := <-done
	return float64(n) * 8 / time.Since(begin).Seconds() / 1e9
}
