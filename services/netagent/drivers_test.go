package netagent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// kind is a network driver with its expected behavior.
type kind struct {
	name string
	want *network.Spec // nil: the network is predefined
	link string        // a kind of link that the kernel must have
}

func kinds() []kind {
	wanted := func(driver string, options map[string]string) *network.Spec {
		w := given("net", "10.7.0.0/24")
		w.Driver, w.Options = driver, options
		return &w
	}
	return []kind{
		{"bridge", wanted(network.DriverBridge, nil), ""},
		{"macvlan", wanted(network.DriverMacvlan, map[string]string{network.OptParent: "p0"}), ""},
		{"ipvlan", wanted(network.DriverIPvlan, map[string]string{network.OptParent: "p0"}), "ipvlan"},
		{"host", nil, ""},
		{"null", nil, ""},
	}
}

// request is for a sandbox on the kind's network; the predefined host and none have none on them, and are modes.
func (k kind) request(owner string) network.Request {
	switch {
	case k.want != nil:
		return on(owner, network.EndpointSpec{Network: "net", IPv4: netip.MustParseAddr("10.7.0.9")})
	case k.name == "host":
		return network.Request{Owner: owner, Mode: network.Host}
	}
	return network.Request{Owner: owner, Mode: network.Private}
}

// links returns the links of the host with addresses and routes.
func (h *host) links() string {
	var lines []string
	for line := range strings.SplitSeq(h.ns.Run("sh", "-c", "ip -o link | cut -d' ' -f2; ip -4 -o addr | cut -d' ' -f2-7; ip route | sed 's/ linkdown//'; ip neigh show nud permanent"), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestDriverLifecycle takes each driver through the life of a network by the service's own doors.
// What a driver does by itself, its suite in package drivertest tries.
func TestDriverLifecycle(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			h := newHost(t)
			h.ns.Run("sh", "-c", "ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up")
			if k.link != "" {
				if _, err := h.ns.Try("ip", "link", "add", "link", "p1", "name", "probe", "type", k.link); err != nil {
					t.Skipf("this kernel has no %s; the tests of package deploy/vm run this one in a virtual machine", k.link)
				}
				h.ns.Run("ip", "link", "del", "probe")
			}
			k.live(h)
		})
	}
}

func (k kind) live(h *host) {
	h.t.Helper()
	a := h.run()
	empty := h.links()
	if k.want != nil {
		a.network(*k.want)
	}
	before := h.links()
	one := a.create(k.request(id.New()))
	k.change(a, one)
	with := h.links()
	a.stop()
	a = h.run()
	if now := h.links(); now != with {
		h.t.Errorf("after a restart there is\n%s\nand was\n%s", now, with)
	}
	if again := a.create(k.request(one.Owner)); !again.CreatedAt.Equal(one.CreatedAt) {
		h.t.Error("after a restart the sandbox is another one")
	}
	k.crash(a, one)
	a.stop()
	a = h.run()
	a.eventually("what the crash left is gone", func() bool { return h.links() == before })
	a.release(one) // for good: until then its address is kept for it
	var two network.Sandbox
	a.eventually("another has the address; the kernel takes the old interface away in its own time", func() bool {
		var err error
		two, err = a.sandboxes.Create(context.Background(), k.request(id.New()))
		return err == nil
	})
	a.release(two)
	three := a.create(k.request(id.New()))
	if _, err := a.networks.Delete(context.Background(), k.networkName()); err == nil {
		h.t.Error("the network is deleted while it is used, or though it is predefined")
	}
	for range 2 {
		a.release(three)
	}
	a.eventually("nothing is left", func() bool { return h.links() == before && len(a.sandboxes.List()) == 0 && len(h.pins()) == 0 })
	if k.want == nil {
		return
	}
	if _, err := a.networks.Delete(context.Background(), "net"); err != nil {
		h.t.Error(err)
	}
	a.eventually("the host is as it was", func() bool { return h.links() == empty })
}

func (k kind) networkName() string {
	if k.want != nil {
		return "net"
	}
	return map[string]string{"host": "host", "null": "none"}[k.name]
}

// change updates the network, or expects an error.
func (k kind) change(a *agent, sb network.Sandbox) {
	a.t.Helper()
	mtu := 1400
	_, err := a.networks.Update(context.Background(), k.networkName(), network.Update{MTU: &mtu})
	if k.want == nil {
		if !fault.Is(err, fault.Denied) {
			a.t.Errorf("edited: %v", err)
		}
		_, err := a.sandboxes.Create(context.Background(), on(id.New(), network.EndpointSpec{Network: k.networkName()}))
		if !fault.Is(err, fault.Invalid) {
			a.t.Errorf("an endpoint on it: %v", err)
		}
		return
	}
	if err != nil {
		a.t.Error(err)
	}
	has(a.t, "eth0", a.in(sb, "ip", "addr", "show", "eth0"), "mtu 1400 ", "10.7.0.9/24")
}

// crash leaves what a process does that is killed while it removes a sandbox: the namespace is gone and not forgotten.
func (k kind) crash(a *agent, sb network.Sandbox) {
	a.t.Helper()
	if sb.Mode == network.Host {
		a.release(sb) // nothing of it is in the kernel
		return
	}
	if err := kernel.Unpin(sb.NetnsPath); err != nil {
		a.t.Fatal(err)
	}
}
