package conntrack_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// world has a host with DNAT of UDP port 53 to a:5000 for both families; port 54 is the host's own.
func world(t *testing.T) (client, host *testns.NS) {
	t.Helper()
	client, host, _ = worldOf(t)
	return client, host
}

func worldOf(t *testing.T) (client, host, a *testns.NS) {
	t.Helper()
	client, host, a = testns.New(t), testns.New(t), testns.New(t)
	testns.Connect(t, host, "out", "10.1.0.1/24 fd01::1/64", client, "eth0", "10.1.0.2/24 fd01::2/64")
	testns.Connect(t, host, "in", "10.2.0.1/24 fd02::1/64", a, "eth0", "10.2.0.2/24 fd02::2/64")
	host.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	a.Run("sh", "-c", "ip route add default via 10.2.0.1; ip -6 route add default via fd02::1")
	client.Run("sh", "-c", "ip route add 10.2.0.0/24 via 10.1.0.1; ip -6 route add fd02::/64 via fd01::1")
	host.Run("nft", `add table inet t; add chain inet t pre { type nat hook prerouting priority -100; };
		add rule inet t pre ip daddr 10.1.0.1 udp dport 53 dnat ip to 10.2.0.2:5000;
		add rule inet t pre ip6 daddr fd01::1 udp dport 53 dnat ip6 to [fd02::2]:5000`)
	return client, host, a
}

// send creates a conntrack entry on the host.
func send(t *testing.T, from *testns.NS, network, to string) {
	t.Helper()
	c, err := from.Dial(network, to, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

// flows lists the original destinations of the host's conntrack entries.
func flows(n *testns.NS) string {
	var out []string
	for _, family := range []string{"ipv4", "ipv6"} {
		listing, _ := n.Try("conntrack", "-L", "-p", "udp", "-f", family)
		for line := range strings.Lines(listing) {
			var dst, port string
			for _, f := range strings.Fields(line) {
				if v, ok := strings.CutPrefix(f, "dst="); ok && dst == "" {
					dst = v
				}
				if v, ok := strings.CutPrefix(f, "dport="); ok && port == "" {
					port = v
				}
			}
			if dst != "" {
				out = append(out, net.JoinHostPort(dst, port))
			}
		}
	}

	return strings.Join(out, " ")
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestDeleteOnlySelectedEntries(t *testing.T) {
	for name, row := range map[string]struct {
		cuts []conntrack.Selector
		gone []string
	}{
		"withdrawn from all addresses": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.2:5000")}},
			[]string{"10.1.0.1:53"}},
		"withdrawn from one address": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("10.1.0.1:53"), Target: at("10.2.0.2:5000")}},
			[]string{"10.1.0.1:53"}},
		"endpoint address, client": {conntrack.ForAddresses([]netip.Addr{netip.MustParseAddr("fd01::2")}),
			[]string{"[fd01::1]:53"}},
		"endpoint address, container": {conntrack.ForAddresses([]netip.Addr{netip.MustParseAddr("10.2.0.2")}),
			[]string{"10.1.0.1:53", "10.2.0.2:53"}},
		"withdrawn from another address": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("10.2.0.1:53"), Target: at("10.2.0.2:5000")}}, nil},
		"withdrawn from another container": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.3:5000")}}, nil},
		"withdrawn on IPv6": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("[::]:53"), Target: at("[fd02::2]:5000")}},
			[]string{"[fd01::1]:53"}},
		"published with another target": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.9:5000"),
				NotToTarget: true}}, []string{"10.1.0.1:53"}},
		"published with the same target": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.2:5000"),
				NotToTarget: true}}, nil},
		"published port of a host process": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:54"), Target: at("10.2.0.2:54"),
				NotToTarget: true}}, []string{"10.1.0.1:54"}},
		"several selectors": {
			[]conntrack.Selector{{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.2:5000")},
				{Protocol: "udp", Host: at("[::]:53"), Target: at("[fd02::2]:5000")},
				{Protocol: "udp", Host: at("0.0.0.0:54"), Target: at("10.2.0.2:54"), NotToTarget: true}},
			[]string{"10.1.0.1:53", "10.1.0.1:54", "[fd01::1]:53"}},
		"families in one walk": {
			[]conntrack.Selector{
				{Protocol: "udp", Host: at("0.0.0.0:53"), Target: at("10.2.0.9:5000"), NotToTarget: true},
				{Protocol: "udp", Host: at("[::]:55"), Target: at("[fd02::2]:55")}},
			[]string{"10.1.0.1:53"}},
		"the wrong protocol": {
			[]conntrack.Selector{{Protocol: "tcp", Host: at("0.0.0.0:53"), Target: at("10.2.0.2:5000")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, host := world(t)
			send(t, client, "udp4", "10.1.0.1:53")
			send(t, client, "udp4", "10.1.0.1:54")
			send(t, client, "udp6", "[fd01::1]:53")
			send(t, client, "udp4", "10.2.0.2:53") // forwarded, must not be deleted
			all := "10.1.0.1:53 10.1.0.1:54 10.2.0.2:53 [fd01::1]:53"
			if got := flows(host); !same(got, all) {
				t.Fatalf("entries before: got %s, want %s", got, all)
			}
			if err := conntrack.New(hostns.At(host.Fd())).Delete(context.Background(), row.cuts); err != nil {
				t.Fatal(err)
			}
			want := " " + all + " "
			for _, g := range row.gone {
				want = strings.Replace(want, " "+g+" ", " ", 1)
			}
			if got := flows(host); !same(got, want) {
				t.Errorf("entries left: got %s, want %s", got, want)
			}
		})
	}
}

func same(a, b string) bool {
	count := map[string]int{}
	for _, f := range strings.Fields(a) {
		count[f]++
	}

	for _, f := range strings.Fields(b) {
		count[f]--
	}

	for _, n := range count {
		if n != 0 {
			return false
		}
	}

	return true
}

func TestConcurrentDeletes(t *testing.T) {
	client, host := world(t)
	cutter := conntrack.New(hostns.At(host.Fd()))
	const n = 40
	for i := range n {
		send(t, client, "udp4", netip.AddrPortFrom(netip.MustParseAddr("10.1.0.1"), uint16(6000+i)).String())
	}

	errs := make(chan error, n)
	for i := range n {
		go func() {
			errs <- cutter.Delete(context.Background(), []conntrack.Selector{{Protocol: "udp", NotToTarget: true,
				Target: at("10.2.0.2:1"),
				Host:   netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(6000+i))}})
		}()
	}

	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}

	if got := flows(host); got != "" {
		t.Errorf("left: %s", got)
	}
}
