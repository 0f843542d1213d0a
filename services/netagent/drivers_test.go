package netagent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// kind is a network driver with a network to test it on.
type kind struct {
	name string
	want *network.Draft // nil: the network is predefined
	link string         // required link type of the kernel
}

func kinds() []kind {
	wanted := func(driver string, options map[string]string) *network.Draft {
		w := withSubnet("net", "10.7.0.0/24")
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

// request returns a request for a sandbox on the driver's network. The predefined networks host and none
// are sandbox modes without endpoints.
func (k kind) request(owner string) endpoint.Request {
	switch {
	case k.want != nil:
		return requestOn(owner, endpoint.Spec{Network: "net", IPv4: netip.MustParseAddr("10.7.0.9")})
	case k.name == "host":
		return endpoint.Request{Owner: owner, Mode: endpoint.Host}
	}
	return endpoint.Request{Owner: owner, Mode: endpoint.Private}
}

// links returns the links of the host with addresses and routes.
func (h *host) links() string {
	var lines []string
	for line := range strings.SplitSeq(h.ns.Run("sh", "-c",
		"ip -o link | cut -d' ' -f2; ip -4 -o addr | cut -d' ' -f2-7; ip route | sed 's/ linkdown//'; ip neigh "+
			"show nud permanent"), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestDriverLifecycle creates, updates, restarts, releases and deletes a network of each driver through
// the service. The suite in package drivertest tests drivers alone.
func TestDriverLifecycle(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			h := newHost(t)
			h.ns.Run("sh", "-c", "ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up")
			if k.link != "" {
				if _, err := h.ns.Try("ip", "link", "add", "link", "p1", "name", "probe", "type", k.link); err != nil {
					t.Skipf("the kernel does not support %s; package deploy/vm runs this test in a virtual machine",
						k.link)
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
		h.t.Errorf("links after a restart: got\n%s\nwant\n%s", now, with)
	}
	if again := a.create(k.request(one.Owner)); !again.CreatedAt.Equal(one.CreatedAt) {
		h.t.Error("the sandbox was recreated after a restart")
	}

	k.crash(a, one)
	a.stop()
	a = h.run()
	a.eventually("state of the crashed release is removed", func() bool { return h.links() == before })
	a.release(one) // releases its address too
	var two endpoint.Sandbox
	a.eventually("the address is allocated again after the kernel deletes the old interface", func() bool {
		var err error
		two, err = a.sandboxes.Create(context.Background(), k.request(id.New()))
		return err == nil
	})

	a.release(two)
	three := a.create(k.request(id.New()))
	if _, err := a.networks.Delete(context.Background(), k.networkName()); err == nil {
		h.t.Error("a network that is in use or predefined was deleted")
	}

	for range 2 {
		a.release(three)
	}

	a.eventually("all state is removed", func() bool {
		return h.links() == before && len(a.sandboxes.List()) == 0 && len(h.pins()) == 0
	})
	if k.want == nil {
		return
	}
	if _, err := a.networks.Delete(context.Background(), "net"); err != nil {
		h.t.Error(err)
	}

	a.eventually("the host is in its initial state", func() bool { return h.links() == empty })
}

func (k kind) networkName() string {
	if k.want != nil {
		return "net"
	}
	return map[string]string{"host": "host", "null": "none"}[k.name]
}

// change updates the network, or expects an error.
func (k kind) change(a *agent, sb endpoint.Sandbox) {
	a.t.Helper()
	mtu := 1400
	_, err := a.networks.Update(context.Background(), k.networkName(), network.Update{MTU: &mtu})
	if k.want == nil {
		if !fault.Is(err, fault.Denied) {
			a.t.Errorf("update: got %v, want Denied", err)
		}
		_, err := a.sandboxes.Create(context.Background(), requestOn(id.New(),
			endpoint.Spec{Network: k.networkName()}))
		if !fault.Is(err, fault.Invalid) {
			a.t.Errorf("create on a predefined network: got %v, want Invalid", err)
		}
		return
	}
	if err != nil {
		a.t.Error(err)
	}

	has(a.t, "eth0", a.in(sb, "ip", "addr", "show", "eth0"), "mtu 1400 ", "10.7.0.9/24")
}

// crash leaves the state of an agent killed during a release: the namespace is deleted, the sandbox still
// stored.
func (k kind) crash(a *agent, sb endpoint.Sandbox) {
	a.t.Helper()
	if sb.Mode == endpoint.Host {
		a.release(sb) // it has no kernel state
		return
	}
	if err := kernel.Unpin(sb.NetnsPath); err != nil {
		a.t.Fatal(err)
	}
}
