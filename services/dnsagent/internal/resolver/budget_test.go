package resolver_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

// overwhelm sends queries until the budget is used up, to a server that does not respond, and returns
// the number of forwarded ones.
func overwhelm(t *testing.T, b *bench, dead *server) int64 {
	t.Helper()
	conn, err := net.Dial("udp", b.address)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })
	before := dead.asked.Load()
	for i := range 1100 {
		data, _ := question(fmt.Sprintf("n%d.example.org", i), dns.TypeA).Pack()
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
		if i%32 == 0 {
			b.ask("udp", question("web", dns.TypeA)) // keeps the socket's buffer from overflowing
		}
	}

	return dead.asked.Load() - before
}

func TestDeadServersDoNotBlockOtherContainers(t *testing.T) {
	for name, shared := range map[string]bool{"own servers": false, "one server": true} {
		t.Run(name, func(t *testing.T) {
			budgets := resolver.NewBudgets(4096, 2048)
			begin := func(i int, routes ...resolver.Upstream) *bench {
				return startWith(t, func(c *resolver.Config) {
					c.Owner, c.Budgets = fmt.Sprint("container", i),
						budgets
				}, routes...)
			}
			dead := serve(t, func(*dns.Msg) *dns.Msg { return nil })
			dead.route.Time = time.Hour
			for i := range 4 {
				if !shared {
					dead = serve(t, func(*dns.Msg) *dns.Msg { return nil })
					dead.route.Time = time.Hour
				}
				if got := overwhelm(t, begin(i, dead.route), dead); got < 32 {
					t.Errorf("container %d: got %d pending queries, want its guaranteed 32", i, got)
				}
			}
			alive := serve(t, says("1.2.3.4"))
			if shared {
				alive.route.Network = dead.route.Network
			}
			b := begin(5, alive.route)
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					if got := b.ask("udp", question(fmt.Sprintf("n%d.example.org", i),
						dns.TypeA)); len(got.Answer) != 1 {
						t.Errorf("query %d: got %s, want an address", i, dns.RcodeToString[got.Rcode])
					}
				})
			}
			all.Wait()
		})
	}
}

func TestServerBudgetIsShared(t *testing.T) {
	release := make(chan struct{})
	slow := serve(t, func(m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == "quick." {
			return says("1.2.3.4")(m)
		}
		<-release
		return nil
	})

	slow.route.Time = time.Hour
	defer close(release)

	budgets := resolver.NewBudgets(4096, 256)
	begin := func(i int) *bench {
		return startWith(t, func(c *resolver.Config) {
			c.Owner, c.Budgets = fmt.Sprint("container", i),
				budgets
		}, slow.route)
	}

	for i := range 4 {
		overwhelm(t, begin(i), slow)
	}

	b := begin(5)
	for range 50 {
		if got := b.ask("udp", question("quick", dns.TypeA)); len(got.Answer) != 1 {
			t.Fatalf("got %s, want an address", dns.RcodeToString[got.Rcode])
		}
	}
}
