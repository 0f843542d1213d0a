package connections_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/connections"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// fake has connections and no kernel.
type fake []conntrack.Connection

func (f fake) List(_ context.Context, each func(conntrack.Connection) error) error {
	for _, c := range f {
		if err := each(c); err != nil {
			return err
		}
	}
	return nil
}

func (f fake) Watch(ctx context.Context, started, _ func(), each func(conntrack.Connection, bool) error) error {
	started()
	ended := false
	return f.List(ctx, func(c conntrack.Connection) error { ended = !ended; return each(c, ended) })
}

func connection(from, to, target string) conntrack.Connection {
	return conntrack.Connection{Protocol: 6, From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort(to),
		Target: netip.MustParseAddrPort(target)}
}

func TestSelection(t *testing.T) {
	all := fake{
		connection("10.9.0.2:1000", "198.51.100.1:443", "198.51.100.1:443"), // out
		connection("192.0.2.1:1000", "192.0.2.9:80", "10.9.0.3:8080"),       // to a published port
		connection("192.0.2.1:2000", "192.0.2.9:22", "192.0.2.9:22"),        // of the host
		connection("10.9.0.1:3000", "10.9.0.1:4000", "10.9.0.1:4000"),       // of the host on its bridge
		connection("[fd09::2]:1000", "[2001:db8::1]:443", "[2001:db8::1]:443"),
	}
	l := connections.New(connections.Config{Reader: all,
		Networks: func() []*firewall.Network {
			return []*firewall.Network{{Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"),
				netip.MustParsePrefix("fd09::/64")}}}
		},
		Local: func() map[netip.Addr]bool {
			return map[netip.Addr]bool{netip.MustParseAddr("10.9.0.1"): true, netip.MustParseAddr("192.0.2.9"): true}
		},
		Rules: func() egress.AllowingRule {
			return func(source netip.Addr, _ uint8, to netip.AddrPort, local bool) string {
				return fmt.Sprintf("%s->%d%v", source, to.Port(), local)
			}
		},
	})

	list := func(addresses ...netip.Addr) string {
		var found []string
		add := func(c connections.Connection) error {
			found = append(found, fmt.Sprint(c.Event, " ", c.Rule))
			return nil
		}
		if err := l.List(t.Context(), addresses, add); err != nil {
			t.Fatal(err)
		}
		found = append(found, "|")
		if err := l.Watch(t.Context(), addresses, func() {}, func() {}, add); err != nil {
			t.Fatal(err)
		}
		return strings.Join(found, " ")
	}
	want := "0 10.9.0.2->443false 0 192.0.2.1->8080false 0 fd09::2->443false | " +
		"2 10.9.0.2->443false 1 192.0.2.1->8080false 2 fd09::2->443false"
	if got := list(); got != want {
		t.Errorf("all networks:\ngot  %s\nwant %s", got, want)
	}
	if got := list(netip.MustParseAddr("10.9.0.3")); got != "0 192.0.2.1->8080false | 1 192.0.2.1->8080false" {
		t.Errorf("one container: got %s", got)
	}
}
