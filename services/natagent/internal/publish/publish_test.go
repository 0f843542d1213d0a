package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/publish"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// kernel implements Firewall, ChangeLock, Conntrack and Ports, with configurable errors.
type kernel struct {
	elements map[port.Binding]bool
	bound    map[string]bool
	cuts     atomic.Int64
	mu       sync.Mutex
	asked    []conntrack.Selector

	walk  chan struct{} // if not nil, Delete blocks until it is closed
	began chan struct{} // receives a value when Delete blocks

	failPublish, failWithdraw, failRepair, failCut error
	failHold                                       map[string]error // by "ADDRESS/PROTOCOL"
	// a port of all addresses prevents binding it on one
	exclusive bool
	listens   uint16 // a port of another process
}

func newKernel() *kernel {
	return &kernel{elements: map[port.Binding]bool{}, bound: map[string]bool{}, failHold: map[string]error{}}
}

func (k *kernel) AddBindings(_ context.Context, b []port.Binding) error {
	if k.failPublish != nil {
		return k.failPublish
	}
	for _, one := range b {
		k.elements[one] = true
	}
	return nil
}

func (k *kernel) RemoveBindings(_ context.Context, b []port.Binding) error {
	if k.failWithdraw != nil {
		return k.failWithdraw
	}
	for _, one := range b {
		delete(k.elements, one)
	}
	return nil
}

func (k *kernel) ReplaceBindings(ctx context.Context, gone, fresh []port.Binding) error {
	if k.failPublish != nil {
		return k.failPublish
	}
	return errors.Join(k.RemoveBindings(ctx, gone), k.AddBindings(ctx, fresh))
}

func (k *kernel) Lock(context.Context) (func(), error) { return func() {}, nil }
func (k *kernel) Repair(context.Context) error         { return k.failRepair }

func (k *kernel) Delete(_ context.Context, cuts []conntrack.Selector) error {
	if k.walk != nil {
		k.began <- struct{}{}
		<-k.walk
	}
	k.cuts.Add(int64(len(cuts)))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, cuts...)
	return k.failCut
}

// takeDeleted returns the selectors passed to Delete so far, and clears them.
func (k *kernel) takeDeleted() []conntrack.Selector {
	k.mu.Lock()
	defer k.mu.Unlock()
	asked := k.asked
	k.asked = nil
	return asked
}

func (k *kernel) Drain(context.Context, []netip.Addr) (int, error) { return 0, nil }

type portSocket struct {
	k   *kernel
	key string
}

func (p portSocket) Close() error {
	if !p.k.bound[p.key] {
		return errors.New(p.key + " closed twice")
	}
	delete(p.k.bound, p.key)
	return nil
}

func (k *kernel) Bind(proto port.Protocol, at netip.AddrPort) (io.Closer, error) {
	key := fmt.Sprintf("%s/%s", at, proto)
	if err := k.failHold[key]; err != nil {
		return nil, err
	}
	if any := fmt.Sprintf("0.0.0.0:%d/%s", at.Port(), proto); k.exclusive && k.bound[any] {
		return nil, syscall.EADDRINUSE
	}
	k.bound[key] = true
	return portSocket{k, key}, nil
}

func (k *kernel) Dynamic() (hostport.EphemeralPorts, error) {
	return hostport.ParseDynamic("40000 40009", "")
}
func (k *kernel) Process(port.Protocol, netip.AddrPort) (string, bool) {
	return "nginx, pid 123", true
}
func (k *kernel) IPv6() bool { return true }

func (k *kernel) InUse(_ port.Protocol, _ netip.Addr, r port.Range) (uint16, bool) {
	return k.listens, r.Has(k.listens)
}

func setUp(t *testing.T) (*publish.Publisher, *kernel, *store.Store) {
	t.Helper()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	k := newKernel()
	return publish.New(st, k, k, k, k, slog.New(slog.DiscardHandler)), k, st
}

func request() *publication.Publication {
	return &publication.Publication{Owner: fmt.Sprintf("%064x", 7), OwnerName: "web",
		IPv4: netip.MustParseAddr("10.0.0.2"), IPv6: netip.MustParseAddr("fd00::2"),
		Mappings: []port.Mapping{{Protocol: "tcp", Host: port.Single(8080), Container: port.Single(80)},
			{Protocol: "udp", Container: port.Single(53)}}}
}

// nothing checks that no part of a publication is left.
func nothing(t *testing.T, k *kernel, st *store.Store) {
	t.Helper()
	if len(k.elements) > 0 || len(k.bound) > 0 || len(st.Publications()) > 0 {
		t.Errorf("got elements %v, bound %v, stored %v; want none", k.elements, k.bound, st.Publications())
	}
}

func TestPublishErrorRollsBack(t *testing.T) {
	boom := errors.New("boom")
	for name, row := range map[string]struct {
		fail func(*kernel)
		kind fault.Kind
		says string
	}{
		"port in use by a process": {func(k *kernel) { k.failHold["0.0.0.0:8080/tcp"] = syscall.EADDRINUSE },
			fault.Busy,
			"port 0.0.0.0:8080/tcp: failed to bind host port 0.0.0.0:8080/tcp: address already in use (held by " +
				"nginx, pid 123); stop that process, or publish another port"},
		"IPv6 port in use by a process": {func(k *kernel) { k.failHold["[::]:8080/tcp"] = syscall.EADDRINUSE },
			fault.Busy,
			"port [::]:8080/tcp: failed to bind host port [::]:8080/tcp: address already in use (held by nginx, pid " +
				"123); stop that process, or publish another port"},
		"too many open files": {func(k *kernel) { k.failHold["0.0.0.0:40000/udp"] = syscall.EMFILE }, fault.Exhausted,
			""},
		"permission denied": {func(k *kernel) { k.failHold["0.0.0.0:8080/tcp"] = syscall.EACCES }, fault.Denied, ""},
		"no transport": {func(k *kernel) { k.failHold["0.0.0.0:8080/tcp"] = hostport.ErrNoTransport }, fault.Invalid,
			""},
		"the firewall": {func(k *kernel) { k.failPublish, k.failRepair = boom, boom }, fault.Internal, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			p, k, st := setUp(t)
			row.fail(k)
			_, err := p.Publish(context.Background(), request())
			if !fault.Is(err, row.kind) || row.says != "" && err.Error() != row.says {
				t.Errorf("err = %v", err)
			}
			nothing(t, k, st)
			k.failHold, k.failPublish = nil, nil
			if _, err := p.Publish(context.Background(), request()); err != nil {
				t.Errorf("retry: %v", err)
			}
		})
	}
}

func TestPublishRepairsFirewall(t *testing.T) {
	p, k, st := setUp(t)
	k.failPublish = errors.New("no such table")
	got, err := p.Publish(context.Background(), request())
	if err != nil || len(got) != 4 || len(st.Publications()) != 1 {
		t.Errorf("%v, %v", got, err)
	}

	k.failWithdraw = k.failPublish
	if err := p.Release(context.Background(), request().Owner); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}

	nothing(t, k, st)
	if n := k.cuts.Load(); n != 2+4 { // UDP when published, all when released
		t.Errorf("got %d deletions, want 6", n)
	}
}

func TestReleaseRetry(t *testing.T) {
	p, k, st := setUp(t)
	if _, err := p.Publish(context.Background(), request()); err != nil {
		t.Fatal(err)
	}

	k.failWithdraw, k.failRepair = errors.New("boom"), errors.New("boom")
	if err := p.Release(context.Background(), request().Owner); err == nil {
		t.Error("got no error")
	}
	if len(st.Publications()) != 1 || len(k.bound) != 4 {
		t.Errorf("after a failed release: stored %v, bound %v; want all", st.Publications(), k.bound)
	}

	k.failWithdraw, k.failRepair = nil, nil
	if err := p.Release(context.Background(), request().Owner); err != nil {
		t.Error(err)
	}

	nothing(t, k, st)
}

func TestRestartRebindsPorts(t *testing.T) {
	p, k, st := setUp(t)
	if _, err := p.Publish(context.Background(), request()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil || len(k.bound) != 0 {
		t.Fatalf("Close: %v, bound %v; want none", err, k.bound)
	}

	p = publish.New(st, k, k, k, k, slog.New(slog.DiscardHandler))
	k.failHold["[::]:8080/tcp"] = syscall.EADDRINUSE
	for _, want := range []int{3, 3, 4} { // another process uses one until the last call
		if want == 4 {
			k.failHold = nil
		}
		if err := p.RebindPorts(context.Background()); err != nil || len(k.bound) != want {
			t.Errorf("RebindPorts: %v, bound %v; want %d", err, k.bound, want)
		}
	}

	other := request()
	other.Owner, other.OwnerName = fmt.Sprintf("%064x", 8), "other"
	_, err := p.Publish(context.Background(), other)
	if fault.ReasonOf(err) != fault.ReasonPortAllocated {
		t.Errorf("publish a stored port: got %v, want it allocated", err)
	}
	if err := p.Release(context.Background(), request().Owner); err != nil {
		t.Error(err)
	}

	nothing(t, k, st)
}

func TestPublishKeepsConntrackDuringDeletion(t *testing.T) {
	p, k, _ := setUp(t)
	ctx := context.Background()
	began := make(chan struct{}, 9)
	k.began, k.walk = began, make(chan struct{})
	web := func(sources port.Sources) *publication.Publication {
		m := fixed("", 8081)
		m.Sources = sources
		return asks(1, "web", []port.Mapping{fixed("", 8080), m})
	}

	publish := func(ctx context.Context, want *publication.Publication) {
		t.Helper()
		if _, err := p.Publish(ctx, want); err != nil {
			t.Fatal(err)
		}
	}

	publish(ctx, web(""))
	for range 3 { // unchanged bindings keep their entries, without waiting
		if err := p.Release(ctx, web("").Owner); err != nil {
			t.Fatal(err)
		}
		publish(ctx, web(""))
	}

	if err := p.Release(ctx, web("").Owner); err != nil {
		t.Fatal(err)
	}

	publish(ctx, asks(2, "other", []port.Mapping{fixed("", 8082)}))
	<-began
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(short, web("10.0.0.0/8")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("other sources during deletion: got %v, want a timeout", err)
	}

	close(k.walk)
	publish(ctx, web("10.0.0.0/8"))
	if p.FinishDeletions(); k.cuts.Load() != 2 {
		t.Errorf("got %d deletions, want 2", k.cuts.Load())
	}
}
