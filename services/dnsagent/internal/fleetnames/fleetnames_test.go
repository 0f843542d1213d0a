package fleetnames

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// fake is fleetagent and the store of dnsagent. Published endpoints are kept as texts by network and
// owner.
type fake struct {
	fleetv1.OverlayServiceClient
	messages chan *fleetv1.WatchEndpointsResponse // nil breaks the stream

	mu        sync.Mutex
	published map[string]string
	calls     int
	broken    bool
	owners    map[string]registration.Registration
	changed   func(...string)
}

type stream struct {
	grpc.ClientStream
	f   *fake
	ctx context.Context
}

func (s stream) Recv() (*fleetv1.WatchEndpointsResponse, error) {
	select {
	case m := <-s.f.messages:
		if m == nil {
			return nil, errors.New("fleetagent restarts")
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (f *fake) WatchEndpoints(ctx context.Context, _ *fleetv1.WatchEndpointsRequest, _ ...grpc.CallOption) (
	grpc.ServerStreamingClient[fleetv1.WatchEndpointsResponse], error) {
	return stream{f: f, ctx: ctx}, nil
}

func (f *fake) PublishEndpoints(_ context.Context, r *fleetv1.PublishEndpointsRequest, _ ...grpc.CallOption) (
	*fleetv1.PublishEndpointsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.broken {
		return nil, errors.New("fleetagent is away")
	}
	if r.GetAll() {
		f.published = map[string]string{}
	}
	for _, k := range r.GetRemoved() {
		delete(f.published, k.GetNetworkId()+"/"+k.GetOwner())
	}
	for _, e := range r.GetEndpoints() {
		f.published[e.GetNetworkId()+"/"+e.GetOwner()] = strings.Join(append(e.GetNames(), e.GetAddresses()...), " ")
	}
	return &fleetv1.PublishEndpointsResponse{}, nil
}

func (f *fake) Registered(owner string) (registration.Registration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.owners[owner]
	return r, ok
}

func (f *fake) Owners() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for o := range f.owners {
		all = append(all, o)
	}
	return all
}

func (f *fake) Watch(changed func(...string)) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = changed
	return func() {}
}

// register sets the networks of an owner, as "NETWORK=NAME"; without any it is released.
func (f *fake) register(owner string, networks ...string) {
	f.mu.Lock()
	delete(f.owners, owner)
	r := registration.Registration{Owner: owner}
	for _, text := range networks {
		id, name, _ := strings.Cut(text, "=")
		r.Networks = append(r.Networks, registration.Network{ID: id, Name: "name-of-" + id, Names: []string{name},
			Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2")}})
	}
	if len(networks) > 0 {
		f.owners[owner] = r
	}
	changed := f.changed
	f.mu.Unlock()
	if changed != nil {
		changed(owner)
	}
}

// await waits until the published endpoints are those.
func (f *fake) await(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for range 500 {
		got = nil
		f.mu.Lock()
		for key, text := range f.published {
			got = append(got, key+": "+text)
		}
		f.mu.Unlock()
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("got published %q, want %q", got, want)
}

func start(t *testing.T) (*fake, *zone.Zone) {
	t.Helper()
	f := &fake{messages: make(chan *fleetv1.WatchEndpointsResponse), published: map[string]string{},
		owners: map[string]registration.Registration{}}
	z := &zone.Zone{}
	z.Put(zone.Container{Owner: "c1", Members: []zone.Member{{Network: "app", NetworkName: "app"}}})
	ctx, cancel := context.WithCancel(context.Background())
	var task sync.WaitGroup
	x := New(Config{Client: f, Store: f, Zone: z, Log: slog.New(slog.DiscardHandler)})
	task.Go(func() { x.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		task.Wait()
	})
	return f, z
}

func TestOwnNamesArePublished(t *testing.T) {
	f, _ := start(t)
	f.register("c1", "app=web", "bridge=web")
	f.messages <- &fleetv1.WatchEndpointsResponse{Reset_: true, Synced: true} // no fleet
	f.register("c2", "app=db")
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true, Node: "one"}
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true, Networks: []string{"app"}} // not bridge
	f.await(t, "app/c1: web 10.1.0.2", "app/c2: db 10.1.0.2")
	f.register("c1", "bridge=web")
	f.register("c3", "app=late")
	f.await(t, "app/c2: db 10.1.0.2", "app/c3: late 10.1.0.2")
	f.register("c2")
	f.await(t, "app/c3: late 10.1.0.2")

	f.mu.Lock()
	f.broken = true
	f.mu.Unlock()
	f.register("c4", "app=waits")
	f.messages <- nil // fleetagent restarts and knows nothing any more
	f.messages <- &fleetv1.WatchEndpointsResponse{Reset_: true, Synced: true, Node: "one", Networks: []string{"app"}}
	f.mu.Lock()
	f.broken, f.published = false, map[string]string{"app/old": "of an earlier process"}
	f.mu.Unlock()
	f.await(t, "app/c3: late 10.1.0.2", "app/c4: waits 10.1.0.2")

	f.messages <- &fleetv1.WatchEndpointsResponse{Reset_: true, Synced: true} // the host left its fleet
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true}               // the first was applied
	f.mu.Lock()
	calls := f.calls
	f.mu.Unlock()
	f.register("c5", "app=none")
	f.await(t, "app/c3: late 10.1.0.2", "app/c4: waits 10.1.0.2")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls != calls {
		t.Errorf("got %d publications without a fleet", f.calls-calls)
	}
}

func TestNamesOfOtherHostsEnterTheZone(t *testing.T) {
	f, z := start(t)
	endpoint := func(n int) *fleetv1.OverlayEndpoint {
		return &fleetv1.OverlayEndpoint{HostId: "h2", NetworkId: "app", NetworkName: "app", Owner: fmt.Sprint("r", n),
			Names: []string{fmt.Sprint("db", n)}, Addresses: []string{fmt.Sprint("10.1.0.", n), "nonsense"}}
	}
	await := func(want string) {
		t.Helper()
		got := ""
		for range 500 {
			var known []string
			for n := range 5 {
				if found, ok := z.Lookup("c1", fmt.Sprint("db", n), netip.Addr.Is4); ok {
					known = append(known, fmt.Sprintf("%d%v", n, found))
				}
			}
			if got = strings.Join(known, " "); got == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("got %q, want %q", got, want)
	}
	hosts := []*fleetv1.OverlayHost{{Id: "h2", Name: "two"}}
	f.messages <- &fleetv1.WatchEndpointsResponse{Reset_: true, Node: "one", Hosts: hosts,
		Endpoints: []*fleetv1.OverlayEndpoint{endpoint(1)}}
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true, Endpoints: []*fleetv1.OverlayEndpoint{endpoint(2)}}
	await("1[10.1.0.1] 2[10.1.0.2]")
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true, Endpoints: []*fleetv1.OverlayEndpoint{endpoint(3)},
		Removed: []*fleetv1.EndpointKey{{HostId: "h2", NetworkId: "app", Owner: "r1"}}}
	await("2[10.1.0.2] 3[10.1.0.3]")
	f.messages <- nil // names stay while fleetagent is away
	f.messages <- &fleetv1.WatchEndpointsResponse{Reset_: true, Node: "one", Hosts: hosts}
	await("2[10.1.0.2] 3[10.1.0.3]")
	f.messages <- &fleetv1.WatchEndpointsResponse{Synced: true, Endpoints: []*fleetv1.OverlayEndpoint{endpoint(4)}}
	await("4[10.1.0.4]")
}
