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

// moving is a network on its way: its one sandbox has an address, is to have another, and has what
// it had before until it is completed.
type moving struct {
	sandbox   *networkv1.Sandbox
	to        string
	completed chan struct{}
	did       []string // what was asked of netagent and natagent, in that order
}

func (h *host) move(owner, at, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moving = &moving{to: to, completed: make(chan struct{}),
		sandbox: &networkv1.Sandbox{Owner: owner, RenumberPending: true,
			Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: at, Ipv4Gateway: "10.0.0.1"}}}}
}

// note writes down what was done while a network is on its way. The caller has the lock.
func (h *host) note(what string) {
	if h.moving != nil {
		h.moving.did = append(h.moving.did, what)
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
	if f.h.moving == nil {
		f.h.mu.Unlock()
		defer f.h.mu.Lock()
		return &networkv1.GetSandboxResponse{Sandbox: f.h.sandboxOf(req.GetOwner())}, nil
	}
	return &networkv1.GetSandboxResponse{Sandbox: f.h.moving.sandbox}, nil
}

func (f fakeSandboxes) RenumberSandbox(context.Context, *networkv1.RenumberSandboxRequest,
	...grpc.CallOption) (*networkv1.RenumberSandboxResponse, error) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.h.note("renew")
	m, e := f.h.moving, f.h.moving.sandbox.GetEndpoints()[0]
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
	f.h.note("settle")
	m, e := f.h.moving, f.h.moving.sandbox.GetEndpoints()[0]
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
	f.h.note("cut " + strings.Join(req.GetAddresses(), " "))
	return &natv1.DeleteConntrackResponse{}, nil
}

// followed has containers follow the network until it is completed, and answers what was done.
func (h *host) updateServices(t *testing.T) []string {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.runner.RunNetworkSync(ctx)
	}()

	select {
	case <-h.moving.completed:
	case <-time.After(30 * time.Second):
		t.Error("the container does not follow")
	}

	cancel() // what has been begun is done all the same
	<-ended
	return h.moving.did
}

func TestAContainerFollowsItsNetworkAndConnectionsMayEndFirst(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.move(c.ID, "172.17.0.2/16", "10.0.0.2/24")
	want := []string{"renew", "lead to 10.0.0.2", "drain 172.17.0.2", "cut 172.17.0.2", "settle", "cut 172.17.0.2"}
	if did := h.updateServices(t); !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	if now, err := h.runner.Find("web"); err != nil || now.Live.Endpoints[0].IPv4 != "10.0.0.2/24" {
		t.Errorf("remembered is %+v, %v", now.Live, err)
	}
}

// A crash came after ports had been led to where a container was to be, and before that was stored;
// then the network went back. What is stored of the ports says that they are right where they are
// not.
func TestPortsFollowThoughItIsNotStoredWhereTheyLead(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.move(c.ID, "10.0.0.2/24", "172.17.0.2/16")
	if now, err := h.runner.Find("web"); err != nil || now.Live.Endpoints[0].IPv4 != "172.17.0.2/16" {
		t.Fatalf("remembered is %+v, %v", now.Live, err)
	}
	if did := h.updateServices(t); !slices.Contains(did, "lead to 172.17.0.2") {
		t.Errorf("did %q", did)
	}
}

// A crash came after natagent had published ports, or withdrawn them, and before that was stored.
func TestWhatIsPublishedOtherwiseThanIsStoredIsPutRight(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.moving = &moving{completed: make(chan struct{}), sandbox: &networkv1.Sandbox{Owner: c.ID,
		Endpoints: []*networkv1.Endpoint{{Bridge: "br0", Ipv4Address: "172.17.0.2/16"}}}}
	h.published = []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostPort: 9999, ContainerPort: 80}}
	h.ledAgain = func() { close(h.moving.completed) }
	if did := h.updateServices(t); !slices.Equal(did, []string{"lead to 172.17.0.2"}) {
		t.Errorf("did %q", did)
	}
	if got := h.published; len(got) != 1 || got[0].GetHostPort() != 8080 {
		t.Errorf("published is %v", got)
	}
}
