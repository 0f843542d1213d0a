package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/natclient"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// journal records the calls of all fakes in their order, and returns errors on request.
type journal struct {
	mu    sync.Mutex
	lines []string
	fails map[string]error // by the first word of a call
}

func (j *journal) call(words ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, strings.TrimSpace(strings.Join(words, " ")))
	return j.fails[words[0]]
}

// fail makes calls fail until the error is nil.
func (j *journal) fail(word string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fails[word] = err
}

// take returns the calls since the last take that start with one of some words, joined.
func (j *journal) take(words ...string) string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	found := slices.DeleteFunc(j.lines, func(line string) bool {
		word, _, _ := strings.Cut(line, " ")
		return !slices.Contains(words, word)
	})
	j.lines = nil
	return strings.Join(found, "; ")
}

// fleet is fleetagent.
type fleet struct {
	fleetv1.OverlayServiceClient
	*journal
	views chan *fleetv1.WatchOverlayResponse // nil ends the stream
	claim func(*fleetv1.ClaimBlockRequest) string
}

type views struct {
	grpc.ServerStreamingClient[fleetv1.WatchOverlayResponse]
	ctx context.Context
	of  *fleet
}

func (f *fleet) WatchOverlay(ctx context.Context, _ *fleetv1.WatchOverlayRequest, _ ...grpc.CallOption) (
	grpc.ServerStreamingClient[fleetv1.WatchOverlayResponse], error) {
	return &views{ctx: ctx, of: f}, f.call("watch")
}

func (v *views) Recv() (*fleetv1.WatchOverlayResponse, error) {
	select {
	case m := <-v.of.views:
		if m == nil {
			return nil, io.ErrUnexpectedEOF
		}
		return m, nil
	case <-v.ctx.Done():
		return nil, v.ctx.Err()
	}
}

func (f *fleet) MarkNetworkUp(_ context.Context, _ *fleetv1.MarkNetworkUpRequest, _ ...grpc.CallOption) (
	*fleetv1.MarkNetworkUpResponse, error) {
	return &fleetv1.MarkNetworkUpResponse{}, f.call("mark")
}

func (f *fleet) ConfirmNetworkRemoved(_ context.Context, _ *fleetv1.ConfirmNetworkRemovedRequest,
	_ ...grpc.CallOption) (*fleetv1.ConfirmNetworkRemovedResponse, error) {
	return &fleetv1.ConfirmNetworkRemovedResponse{}, f.call("confirm")
}

func (f *fleet) ClaimBlock(_ context.Context, r *fleetv1.ClaimBlockRequest, _ ...grpc.CallOption) (
	*fleetv1.ClaimBlockResponse, error) {
	if err := f.call("claim", r.GetSubnet(), r.GetPrefix()); err != nil {
		return nil, err
	}
	return &fleetv1.ClaimBlockResponse{Block: &fleetv1.OverlayBlock{Prefix: f.claim(r)}}, nil
}

func (f *fleet) ReleaseBlock(_ context.Context, r *fleetv1.ReleaseBlockRequest, _ ...grpc.CallOption) (
	*fleetv1.ReleaseBlockResponse, error) {
	return &fleetv1.ReleaseBlockResponse{}, f.call("release", r.GetPrefix(), r.GetToHostId())
}

func (f *fleet) ReportUsage(_ context.Context, r *fleetv1.ReportUsageRequest, _ ...grpc.CallOption) (
	*fleetv1.ReportUsageResponse, error) {
	words := []string{"report"}
	for _, b := range r.GetBlocks() {
		words = append(words, b.GetPrefix(), strings.Repeat("+", int(b.GetUsed())))
	}
	return &fleetv1.ReportUsageResponse{}, f.call(words...)
}

func (f *fleet) PublishHost(_ context.Context, r *fleetv1.PublishHostRequest, _ ...grpc.CallOption) (
	*fleetv1.PublishHostResponse, error) {
	words := append([]string{"publish"}, r.GetRoutes()...)
	for _, k := range r.GetTunnelKeys() {
		words = append(words, fmt.Sprint("key", k.GetGeneration()))
	}
	return &fleetv1.PublishHostResponse{}, f.call(words...)
}

func (f *fleet) CreateNetwork(_ context.Context, r *fleetv1.CreateNetworkRequest, _ ...grpc.CallOption) (
	*fleetv1.CreateNetworkResponse, error) {
	n := r.GetNetwork()
	if r.GetIpv6() {
		n.Pools = append(n.Pools, &fleetv1.OverlayPool{Subnet: "fd80::/64"})
	}
	return &fleetv1.CreateNetworkResponse{Network: n}, f.call("create", n.GetName())
}

func (f *fleet) RemoveNetwork(_ context.Context, _ *fleetv1.RemoveNetworkRequest, _ ...grpc.CallOption) (
	*fleetv1.RemoveNetworkResponse, error) {
	return &fleetv1.RemoveNetworkResponse{}, f.call("delete")
}

// firewall is natagent.
type firewall struct {
	natv1.FirewallServiceClient
	*journal
	sent *natv1.FirewallTunnel
}

func (f *firewall) PutNetwork(context.Context, *natv1.PutNetworkRequest, ...grpc.CallOption) (
	*natv1.PutNetworkResponse, error) {
	return &natv1.PutNetworkResponse{}, nil
}

func (f *firewall) PutTunnel(_ context.Context, r *natv1.PutTunnelRequest, _ ...grpc.CallOption) (
	*natv1.PutTunnelResponse, error) {
	if f.sent = r.GetTunnel(); r.GetTunnel() == nil {
		return &natv1.PutTunnelResponse{}, f.call("norules")
	}
	return &natv1.PutTunnelResponse{}, f.call("rules")
}

// tunnels are the encrypted tunnels.
type tunnels struct {
	*journal
	keys, known []tunnelkey.Public
	seen        encryption.View
}

func (e *tunnels) Sync(v encryption.View) (bool, error) {
	changed := !slices.Equal(e.keys, e.known)
	if e.seen, e.known = v, slices.Clone(e.keys); !v.Needed {
		return changed, e.call("clear")
	}
	return changed, e.call("encrypt")
}

func (e *tunnels) Published() []tunnelkey.Public { return e.keys }

func (e *tunnels) Run(ctx context.Context, _ func()) { <-ctx.Done() }

func (e *tunnels) Clean() error { return e.call("noencryption") }

// host is the kernel of a host, and what applies networks to it.
type host struct {
	*journal
	store    *store.Store
	fleet    *fleet
	control  *Controller
	events   *events.Subscription
	applies  *natclient.Client
	routes   []kernel.Route
	tunnelTo []netip.Prefix
	secret   *tunnels
	rules    *firewall
}

func (h *host) EnsureTunnel(kernel.Tunnel) ([]string, error) { return nil, h.call("tunnel") }

func (h *host) SyncTunnel(_ string, _ []kernel.TunnelPeer, routes []kernel.TunnelRoute) ([]string, error) {
	h.tunnelTo = nil
	for _, r := range routes {
		h.tunnelTo = append(h.tunnelTo, r.To)
	}
	return nil, nil
}

func (h *host) DeleteTunnel(string, string) error { return h.call("notunnel") }

func (h *host) WatchTunnel(ctx context.Context, _ string, _ func()) error {
	<-ctx.Done()
	return nil
}

func (h *host) Links() ([]kernel.Link, error) { return []kernel.Link{{Index: 2, MTU: 1400}}, nil }

func (h *host) LinkWith(a netip.Addr) (int, bool, error) {
	return 2, a == netip.MustParseAddr("10.99.0.1"), nil
}

func (h *host) Routes() ([]kernel.Route, error) { return h.routes, nil }

func (h *host) Require(context.Context, store.Network) error { return h.call("local") }

func (h *host) Sync(ctx context.Context, n network.Network) error {
	return errors.Join(h.call("up"), h.applies.Apply(ctx, n))
}

func (h *host) Remove(context.Context, network.Network) error { return h.call("down") }

// disconnect removes a container from the network.
func (h *host) disconnect(_ context.Context, owner, _ string) (endpoint.Sandbox, error) {
	if err := h.call("disconnect", owner); err != nil {
		return endpoint.Sandbox{}, err
	}
	return endpoint.Sandbox{}, h.store.DeleteSandboxes(owner)
}

func (h *host) follow(_ context.Context, n network.Network) error { return h.call("follow", n.Name) }

var app = strings.Repeat("a", 64)

// newHost returns a host that follows a fleet until the end of the test.
func newHost(t *testing.T) *host {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{fails: map[string]error{}}
	f := &fleet{journal: j, views: make(chan *fleetv1.WatchOverlayResponse)}
	h := &host{journal: j, store: s, fleet: f, applies: natclient.New(&firewall{journal: j}, s, nil),
		secret: &tunnels{journal: j}, rules: &firewall{journal: j}}
	broker := &events.Broker{}
	if h.events, err = broker.Subscribe(time.Time{}); err != nil {
		t.Fatal(err)
	}
	h.control = New(Config{Fleet: f, Firewall: h.rules, Store: s, Kernel: h, Bringup: h, Encryption: h.secret,
		Locks: lock.NewChecked(), Allocator: ipam.NewAllocator(time.Now), Events: broker,
		Log: slog.New(slog.DiscardHandler)})

	var all sync.WaitGroup
	all.Go(func() { h.control.Run(t.Context(), Containers{Follow: h.follow, Disconnect: h.disconnect}) })
	t.Cleanup(func() {
		all.Wait()
		h.events.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// overlay returns the network of the tests.
func overlay() *fleetv1.OverlayNetwork {
	return &fleetv1.OverlayNetwork{Id: app, Name: "app", Mtu: 1450,
		Pools: []*fleetv1.OverlayPool{{Subnet: "10.128.0.0/24", Gateway: "10.128.0.1"}}}
}

// self returns what a host with an ID knows of itself.
func self(id string) *fleetv1.OverlaySelf {
	return &fleetv1.OverlaySelf{HostId: id, Address: "10.99.0.1", Vni: 7007, UnderlayMtu: 1500}
}

// owns returns blocks of a host on the network of the tests.
func owns(host string, texts ...string) []*fleetv1.OverlayBlock {
	all := blocks(host, texts...)
	for _, b := range all {
		b.NetworkId = app
	}
	return all
}

// see sends a complete view with the network and some blocks of this host and waits until it is applied.
func (h *host) see(texts ...string) {
	h.send(&fleetv1.WatchOverlayResponse{Reset_: true, Self: self(one), Blocks: owns(one, texts...),
		Networks: []*fleetv1.OverlayNetwork{overlay()}, Hosts: []*fleetv1.OverlayHost{{Id: two, Address: "10.99.0.2"}}})
}

// send sends a message, and waits until what follows from it is done.
func (h *host) send(m *fleetv1.WatchOverlayResponse) {
	m.Synced = true
	h.fleet.views <- m
	time.Sleep(time.Second)
	synctest.Wait()
}

// later lets what waits for a tick happen.
func later() {
	time.Sleep(tendInterval + time.Second)
	synctest.Wait()
}

// network returns the stored network.
func (h *host) network(t *testing.T) store.Network {
	t.Helper()
	n, ok := h.store.Network(app)
	if !ok {
		t.Fatal("network not stored")
	}
	return n
}

// setUp sets the network up.
func (h *host) setUp(t *testing.T) {
	t.Helper()
	if err := h.control.Require(t.Context(), h.network(t)); err != nil {
		t.Fatal(err)
	}
}

// connect connects a container to the network.
func (h *host) connect(t *testing.T, owner, address string) {
	t.Helper()
	a := netip.MustParseAddr(address)
	sb := endpoint.Sandbox{Owner: owner, Mode: endpoint.Private, NetnsPath: "/run/" + owner,
		Endpoints: []endpoint.Endpoint{{NetworkID: app, IPv4: netip.PrefixFrom(a, 24)}}}
	if err := h.store.PutSandbox(sb); err != nil || !h.control.Allocator.Claim(app, a, owner) {
		t.Fatalf("connect %s: %v", owner, err)
	}
	h.control.Changed()
	time.Sleep(time.Second)
	synctest.Wait()
}

// expectBlocks compares the stored blocks.
func (h *host) expectBlocks(t *testing.T, texts ...string) {
	t.Helper()
	if got, want := h.network(t).Status.Blocks, prefixes(texts...); !slices.Equal(got, want) {
		t.Errorf("blocks: got %v, want %v", got, want)
	}
}

// expect compares the calls since the last time that start with some words.
func (h *host) expect(t *testing.T, want string, words ...string) {
	t.Helper()
	if got := h.take(words...); got != want {
		t.Errorf("calls: got %q, want %q", got, want)
	}
}

// actions returns the actions of all events since the last call, with the name of the network.
func (h *host) actions() (all []string) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	for {
		e, err := h.events.Next(ctx)
		if err != nil {
			return all
		}
		all = append(all, e.Action+" "+e.Attributes["name"])
	}
}

var away = fault.New(fault.Unavailable, "store", "cannot be reached")
