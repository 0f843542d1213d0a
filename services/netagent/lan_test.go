package netagent

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// lan is a host on the same LAN as the link lan0.
type lan struct {
	*testns.NS
	t testing.TB
}

func (h *host) connectLAN() *lan {
	h.t.Helper()
	l := &lan{testns.New(h.t), h.t}
	h.ns.Run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "wire", "netns", l.Path())
	h.ns.Run("ip", "link", "set", "lan0", "up")
	l.Run("sysctl", "-qw", "net.ipv6.conf.wire.accept_dad=0") // a router cannot advertise before DAD completes
	l.Run("ip", "link", "set", "wire", "address", "02:00:00:00:00:77", "up")
	return l
}

// addAddresses adds addresses to the host.
func (l *lan) addAddresses(addrs ...string) {
	l.t.Helper()
	for _, a := range addrs {
		args := []string{"addr", "add", a, "dev", "wire"}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		l.Run("ip", args...)
	}
}

// createLANNetwork creates a network of a driver on lan0.
func (a *agent) createLANNetwork(driver string, options map[string]string, pools ...string) network.Network {
	a.t.Helper()
	want := network.Draft{Name: "lan", Driver: driver, Options: map[string]string{network.OptParent: "lan0"}}
	for k, v := range options {
		want.Options[k] = v
	}

	for _, p := range pools {
		want.Pools = append(want.Pools, network.PoolSpec{Subnet: netip.MustParsePrefix(p)})
	}

	n, err := a.networks.Create(context.Background(), want)
	if err != nil {
		a.t.Fatal(err)
	}

	return n
}

func onNetwork(name string, ip string) endpoint.Request {
	spec := endpoint.Spec{Network: name}
	if ip != "" {
		spec.IPv4 = netip.MustParseAddr(ip)
	}
	return endpoint.Request{Owner: id.New(), Mode: endpoint.Private, Endpoints: []endpoint.Spec{spec}}
}

func TestConflictingAddressIsSkipped(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	a.ns.Run("ip", "addr", "add", "10.9.0.3/24", "dev", "lan0")
	lan.addAddresses("10.9.0.1/24", "10.9.0.2/24", "fd09::1/64")
	a.createLANNetwork("macvlan", nil, "10.9.0.0/24", "fd09::/64")

	sb := a.create(onNetwork("lan", "")) // .3 is the host's
	if got := sb.Endpoints[0]; got.IPv4.String() != "10.9.0.4/24" || got.IPv6.String() != "fd09::2/64" {
		t.Errorf("got %s and %s", got.IPv4, got.IPv6)
	}

	for ip, who := range map[string]string{"10.9.0.1": "02:00:00:00:00:77 on the LAN of lan0",
		"10.9.0.3": "this host itself, by lan0"} {
		_, err := a.sandboxes.Create(context.Background(), onNetwork("lan", ip))
		if !fault.Is(err, fault.Exists) || !strings.Contains(err.Error(),
			ip+": Address already in use: "+who+" has it") {
			t.Errorf("%s: %v", ip, err)
		}
	}

	lan.Run("ip", "addr", "del", "10.9.0.2/24", "dev", "wire")
	lan.addAddresses("10.9.0.9/32")
	again := a.create(onNetwork("lan", "10.9.0.2")) // a static address is probed again
	a.release(again)
	a.release(sb)
	start := time.Now()
	sb = a.create(onNetwork("lan", "10.9.0.4")) // its former interface may still exist
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s, want at most 5s", took)
	}

	a.release(sb)
}

func TestNoProbeSkipsConflictDetection(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24")
	a.createLANNetwork("macvlan", map[string]string{network.OptProbe: "false"}, "10.9.0.0/24")
	sb := a.create(onNetwork("lan", ""))
	if got := sb.Endpoints[0].IPv4.String(); got != "10.9.0.1/24" {
		t.Errorf("got %s", got)
	}

	a.release(sb)
	bad := network.Draft{Name: "bad", Driver: "macvlan", Options: map[string]string{network.OptProbe: "maybe"}}
	if _, err := a.networks.Create(context.Background(), bad); !fault.Is(err, fault.Invalid) {
		t.Errorf("probe=maybe: got %v, want Invalid", err)
	}
}

func TestNewAddressesAreAnnounced(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	a.createLANNetwork("macvlan", map[string]string{network.OptProbe: "false"}, "10.9.0.0/24", "fd09::/64")
	four, six := lan.capture(kernel.FilterARP()), lan.capture(kernel.FilterND())
	req := onNetwork("lan", "10.9.0.70")
	req.Endpoints[0].IPv6 = netip.MustParseAddr("fd09::70")
	sb := a.create(req)
	mac := sb.Endpoints[0].MAC
	for _, p := range sb.Endpoints[0].Addresses() {
		from := four
		if p.Addr().Is6() {
			from = six
		}
		if !from.waitFor(func(data []byte) bool {
			who, ok := frame.ConflictFrom(data, p.Addr())
			return ok && bytes.Equal(who, mac)
		}) {
			t.Errorf("got no announcement of %s", p.Addr())
		}
	}

	a.release(sb)
}

// frames receives the frames that arrive at an interface.
type frames chan []byte

func (l *lan) capture(what kernel.FrameFilter) frames { return captureAt(l.t, l.Path(), "wire", what) }

func captureAt(t testing.TB, nsPath, name string, what kernel.FrameFilter) frames {
	t.Helper()
	netns, err := kernel.Open(nsPath)
	if err != nil {
		t.Fatal(err)
	}

	link, _, err := netns.Link(name)
	if err != nil {
		t.Fatal(err)
	}

	p, err := netns.Packets(link.Index, what)
	if err != nil {
		t.Fatal(err)
	}

	out := make(frames, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, _, err := p.Read(buf)
			if err != nil {
				return // closed
			}
			select {
			case out <- bytes.Clone(buf[:n]):
			default:
			}
		}
	}()

	t.Cleanup(func() {
		_ = p.Close()
		<-done
		netns.Close()
	})

	return out
}

// waitFor waits for a matching frame and reports whether it arrived.
func (f frames) waitFor(ok func([]byte) bool) bool {
	end := time.After(waitTimeout)
	for {
		select {
		case data := <-f:
			if ok(data) {
				return true
			}
		case <-end:
			return false
		}
	}
}

func TestAnnouncementCountIsConfigurable(t *testing.T) {
	a := newHost(t).run()
	lan := a.connectLAN()
	lan.addAddresses("10.9.0.1/24", "fd09::1/64")
	for i, c := range []struct {
		options map[string]string
		want    int
	}{
		{map[string]string{network.OptAnnounceTimes: "2", network.OptAnnounceEvery: "100"}, 2},
		{map[string]string{network.OptAnnounceEvery: "100"}, 3},
		{map[string]string{network.OptAnnounceTimes: "0"}, 0},
	} {
		c.options[network.OptProbe] = "false"
		a.createLANNetwork("macvlan", c.options, "10.9.0.0/24", "fd09::/64")
		four, six := lan.capture(kernel.FilterARP()), lan.capture(kernel.FilterND())
		req := onNetwork("lan", fmt.Sprintf("10.9.0.7%d", i))
		req.Endpoints[0].IPv6 = netip.MustParseAddr(fmt.Sprintf("fd09::7%d", i))
		sb := a.create(req)
		time.Sleep(700 * time.Millisecond)
		e := sb.Endpoints[0]
		if got4, got6 := four.countAnnouncements(e.IPv4.Addr()),
			six.countAnnouncements(e.IPv6.Addr()); got4 != c.want || got6 != c.want {
			t.Errorf("%v: got %d announcements of %s and %d of %s", c.options, got4, e.IPv4, got6, e.IPv6)
		}
		a.release(sb)
		if _, err := a.networks.Delete(context.Background(), "lan"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBridgeAnnouncesNewContainers(t *testing.T) {
	a := newHost(t).run()
	a.newNetwork("n1")
	first := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	four := captureAt(t, first.NetnsPath, "eth0", kernel.FilterARP())
	second := a.create(requestOn(id.New(), endpoint.Spec{Network: "n1"}))
	a.release(second) // cancels the remaining announcements
	time.Sleep(1500 * time.Millisecond)
	if got := four.countAnnouncements(second.Endpoints[0].IPv4.Addr()); got != 1 {
		t.Errorf("got %d announcements, want 1", got)
	}
	a.eventually("the veth pair is deleted", func() bool { return len(a.ports(first.Endpoints[0].Bridge)) == 1 })
}

// countAnnouncements returns how many of the received frames announce an address.
func (f frames) countAnnouncements(addr netip.Addr) (times int) {
	for {
		select {
		case data := <-f:
			if _, ok := frame.ConflictFrom(data, addr); ok {
				times++
			}
		default:
			return times
		}
	}
}
