package resolver_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkLocalNames measures one client with 100 pending queries for container names, while 100
// names a second change. A response after more than a second counts as lost.
func BenchmarkLocalNames(b *testing.B) {
	s := start(b)
	for i := range 1000 {
		s.put(fmt.Sprintf("c%d", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250))
	}

	defer churn(s)()

	conn, err := net.Dial("udp", s.address)
	if err != nil {
		b.Fatal(err)
	}

	defer conn.Close()

	data, _ := question("c500", dns.TypeA).Pack()
	buf := make([]byte, 512)
	const ahead = 100
	lost := 0
	b.ResetTimer()
	for i := range b.N + ahead {
		if i >= ahead {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := conn.Read(buf); err != nil || n < 12 || buf[3]&0xf != 0 {
				lost++
			}
		}
		if i < b.N {
			if _, err := conn.Write(data); err != nil {
				b.Fatal(err)
			}
		}
	}

	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// churn changes 100 names a second until stop is called.
func churn(s *bench) (stop func()) {
	tick, end, ended := time.NewTicker(10*time.Millisecond), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-tick.C:
				s.put("churn", fmt.Sprintf("10.2.0.%d", i%250))
			}
		}
	}()

	return func() { close(end); <-ended }
}
