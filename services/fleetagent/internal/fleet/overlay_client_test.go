package fleet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// client holds the state of a service of a host, from its streams.
type client struct {
	t testing.TB
	h *host

	mu        sync.Mutex
	self      *fleetv1.OverlaySelf
	hosts     map[string]*fleetv1.OverlayHost
	networks  map[string]*fleetv1.OverlayNetwork
	blocks    map[string]*fleetv1.OverlayBlock
	endpoints map[string]*fleetv1.OverlayEndpoint
	synced    bool
	give      bool // answer requests for blocks
}

// watch follows the streams of a host until the test ends.
func (h *host) watch() *client {
	c := &client{t: h.t, h: h}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = h.WatchOverlay(ctx, c.overlay) })
	tasks.Go(func() { _ = h.WatchEndpoints(ctx, c.names) })
	h.t.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	return c
}

func (c *client) overlay(m *fleetv1.WatchOverlayResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.GetReset_() {
		c.self, c.hosts, c.networks = nil, map[string]*fleetv1.OverlayHost{}, map[string]*fleetv1.OverlayNetwork{}
		c.blocks = map[string]*fleetv1.OverlayBlock{}
	}
	if m.GetSelf() != nil {
		c.self = m.GetSelf()
	}
	for _, id := range m.GetRemovedHosts() {
		delete(c.hosts, id)
	}
	for _, h := range m.GetHosts() {
		c.hosts[h.GetId()] = h
	}
	for _, id := range m.GetRemovedNetworks() {
		delete(c.networks, id)
	}
	for _, n := range m.GetNetworks() {
		c.networks[n.GetId()] = n
	}
	for _, p := range m.GetRemovedBlocks() {
		delete(c.blocks, p)
	}
	for _, b := range m.GetBlocks() {
		c.blocks[b.GetPrefix()] = b
	}
	c.synced = m.GetSynced()
	for _, r := range m.GetRequests() {
		if c.give {
			go c.release(r)
		}
	}
	return nil
}

// release responds to a request: with the upper half of the block, the address, or the whole block.
func (c *client) release(r *fleetv1.BlockRequest) {
	p := netip.MustParsePrefix(r.GetPrefix())
	switch {
	case r.GetAddress() != "":
		p = netip.PrefixFrom(netip.MustParseAddr(r.GetAddress()), 32)
	case r.GetToHostId() != "":
		b := p.Addr().As4()
		b[3] |= 1 << (31 - p.Bits())
		p = netip.PrefixFrom(netip.AddrFrom4(b), p.Bits()+1)
	}
	if err := c.h.ReleaseBlock(context.Background(), r.GetNetworkId(), p, r.GetToHostId()); err != nil {
		c.t.Logf("%s cannot release %s: %v", c.h.name, p, err)
	}
}

func (c *client) names(m *fleetv1.WatchEndpointsResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.GetReset_() {
		c.endpoints = map[string]*fleetv1.OverlayEndpoint{}
	}
	for _, k := range m.GetRemoved() {
		delete(c.endpoints, k.GetHostId()+k.GetNetworkId()+k.GetOwner())
	}
	for _, e := range m.GetEndpoints() {
		c.endpoints[e.GetHostId()+e.GetNetworkId()+e.GetOwner()] = e
	}
	return nil
}

// until waits for a condition of what the client knows.
func (c *client) until(what string, holds func() bool) {
	c.t.Helper()
	if eventually(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return holds()
	}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Fatalf("%s does not see: %s; hosts %v, networks %v, blocks %v, endpoints %v", c.h.name, what, c.hosts,
		c.networks, c.blocks, c.endpoints)
}

// text describes what a client knows.
func (c *client) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(slices.Sorted(maps.Keys(c.hosts)), slices.Sorted(maps.Keys(c.networks)),
		slices.Sorted(maps.Keys(c.blocks)))
}

func netID(n int) string { return fmt.Sprintf("%064x", n) }

func (h *host) create(n int, name, subnet string) (*fleetv1.OverlayNetwork, error) {
	wanted := &fleetv1.OverlayNetwork{Id: netID(n), Name: name}
	if subnet != "" {
		wanted.Pools = []*fleetv1.OverlayPool{{Subnet: subnet}}
	}
	got, warnings, err := h.CreateNetwork(context.Background(), wanted, false)
	if len(warnings) > 0 {
		h.t.Logf("got warnings %v", warnings) // on a loaded machine
	}
	return got, err
}

func (h *host) claim(n int, subnet, exact string) (string, error) {
	var p netip.Prefix
	if exact != "" {
		p = netip.MustParsePrefix(exact)
	}
	b, err := h.ClaimBlock(context.Background(), netID(n), netip.MustParsePrefix(subnet), p)
	return b.GetPrefix(), err
}

// wantError checks the kind and the text of an error.
func wantError(t testing.TB, what string, err error, kind fault.Kind, text string) {
	t.Helper()
	if fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v, want %q", what, err, text)
	}
}

func must0(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// three starts a fleet of three hosts.
func three(t *testing.T) (one, two, three *host) {
	t.Helper()
	one, two, three = newHost(t, 1), newHost(t, 2), newHost(t, 3)
	one.found()
	token := one.token(2)
	two.join(token)
	three.join(token)
	for _, h := range []*host{one, two, three} {
		h.await("host1 alive, host2 alive, host3 alive")
	}
	return one, two, three
}
