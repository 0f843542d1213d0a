package run_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// renumbering is a network with one sandbox that is renumbered from its address to another one.
type renumbering struct {
	sandbox   *networkv1.Sandbox
	to        string
	completed chan struct{}
	did       []string // requests to netagent and natagent, in order
}

func (h *host) renumber(owner, at, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renumbering = &renumbering{to: to, completed: make(chan struct{}),
		sandbox: &networkv1.Sandbox{Owner: owner, RenumberPending: true,
			Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: at, Ipv4Gateway: "10.0.0.1"}}}}
}

// note records a request during a renumbering. h.mu must be held.
func (h *host) note(what string) {
	if h.renumbering != nil {
		h.renumbering.did = append(h.renumbering.did, what)
	}
}

type changes struct {
	grpc.ServerStreamingClient[networkv1.WatchSandboxesResponse]
	ctx     context.Context
	emitted bool
}

func (c *changes) Recv() (*networkv1.WatchSandboxesResponse, error) {
	if !c.emitted {
		c.emitted = true
		return &networkv1.WatchSandboxesResponse{}, nil
	}
	<-c.ctx.Done()
	return nil, c.ctx.Err()
}

func (f fakeSandboxes) WatchSandboxes(ctx context.Context, _ *networkv1.WatchSandboxesRequest,
	_ ...grpc.CallOption) (grpc.ServerStreamingClient[networkv1.WatchSandboxesResponse], error) {
	return &changes{ctx: ctx}, nil
}

func (f fakeSandboxes) GetSandbox(_ context.Context, req *networkv1.GetSandboxRequest,
	_ ...grpc.CallOption) (*networkv1.GetSandboxResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	if f.h.renumbering == nil {
		f.h.mu.Unlock()
		defer f.h.mu.Lock()
		return &networkv1.GetSandboxResponse{Sandbox: f.h.sandboxOf(req.GetOwner())}, nil
	}
	return &networkv1.GetSandboxResponse{Sandbox: f.h.renumbering.sandbox}, nil
}

func (f fakeSandboxes) RenumberSandbox(context.Context, *networkv1.RenumberSandboxRequest,
	...grpc.CallOption) (*networkv1.RenumberSandboxResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.h.note("renumber")
	m, e := f.h.renumbering, f.h.renumbering.sandbox.GetEndpoints()[0]
	if e.GetIpv4Address() != m.to {
		had, _, _ := strings.Cut(e.GetIpv4Address(), "/")
		m.sandbox = &networkv1.Sandbox{Owner: m.sandbox.GetOwner(), RenumberPending: true,
			Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: m.to, Ipv4Gateway: "10.0.0.1",
				FormerAddresses: []string{had}}}}
	}
	return &networkv1.RenumberSandboxResponse{Sandbox: m.sandbox}, nil
}

func (f fakeSandboxes) CompleteRenumbering(context.Context, *networkv1.CompleteRenumberingRequest,
	...grpc.CallOption) (*networkv1.CompleteRenumberingResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.h.note("complete")
	m, e := f.h.renumbering, f.h.renumbering.sandbox.GetEndpoints()[0]
	m.sandbox = &networkv1.Sandbox{Owner: m.sandbox.GetOwner(),
		Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: m.to, Ipv4Gateway: "10.0.0.1"}}}
	close(m.completed)
	return &networkv1.CompleteRenumberingResponse{RemovedAddresses: e.GetFormerAddresses()}, nil
}

func (f fakePublications) DrainConnections(_ context.Context, req *natv1.DrainConnectionsRequest,
	_ ...grpc.CallOption) (*natv1.DrainConnectionsResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.h.note("drain " + strings.Join(req.GetAddresses(), " "))
	return &natv1.DrainConnectionsResponse{OpenConnections: 1}, nil
}

func (f fakePublications) DeleteConntrack(_ context.Context, req *natv1.DeleteConntrackRequest,
	_ ...grpc.CallOption) (*natv1.DeleteConntrackResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.h.note("delete conntrack " + strings.Join(req.GetAddresses(), " "))
	return &natv1.DeleteConntrackResponse{}, nil
}

// syncNetworks runs the network sync until the renumbering completes, and returns the requests.
func (h *host) syncNetworks(t *testing.T) []string {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.runner.RunNetworkSync(ctx)
	}()

	select {
	case <-h.renumbering.completed:
	case <-time.After(30 * time.Second):
		t.Error("renumbering did not complete")
	}

	cancel() // a started sync completes anyway
	<-ended
	return h.renumbering.did
}

func TestRenumberingDrainsConnections(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.renumber(c.ID, "172.17.0.2/16", "10.0.0.2/24")
	want := []string{"renumber", "forward to 10.0.0.2", "drain 172.17.0.2", "delete conntrack 172.17.0.2", "complete",
		"delete conntrack 172.17.0.2"}
	if did := h.syncNetworks(t); !slices.Equal(did, want) {
		t.Errorf("got requests %q, want %q", did, want)
	}
	if now, err := h.runner.Find("web"); err != nil || now.Live.Endpoints[0].IPv4 != "10.0.0.2/24" {
		t.Errorf("stored: got %+v, %v", now.Live, err)
	}
}

// A crash came after ports were published at the new address and before that was stored, and the
// renumbering was reverted. The stored bindings then equal the desired ones, but not natagent's.
func TestPortsRepublishedAfterRenumberingRevert(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.renumber(c.ID, "10.0.0.2/24", "172.17.0.2/16")
	if now, err := h.runner.Find("web"); err != nil || now.Live.Endpoints[0].IPv4 != "172.17.0.2/16" {
		t.Fatalf("stored: got %+v, %v", now.Live, err)
	}
	if did := h.syncNetworks(t); !slices.Contains(did, "forward to 172.17.0.2") {
		t.Errorf("got requests %q", did)
	}
}

// A crash came after natagent had changed port bindings and before that was stored.
func TestNetworkSyncRepairsPublication(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.renumbering = &renumbering{completed: make(chan struct{}), sandbox: &networkv1.Sandbox{Owner: c.ID,
		Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: "172.17.0.2/16"}}}}
	h.published = []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostPort: 9999, ContainerPort: 80}}
	h.onPublished = func() { close(h.renumbering.completed) }
	if did := h.syncNetworks(t); !slices.Equal(did, []string{"forward to 172.17.0.2"}) {
		t.Errorf("got requests %q", did)
	}
	if got := h.published; len(got) != 1 || got[0].GetHostPort() != 8080 {
		t.Errorf("got published %v", got)
	}
}
