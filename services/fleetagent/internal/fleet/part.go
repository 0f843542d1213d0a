package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api/gateway"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/fence"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/mirror"
	"github.com/fairlead/fairlead/services/fleetagent/internal/outage"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/publish"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/usage"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// How often a manager looks after its store's process, and a host tries to open its listener.
const (
	watchStore  = time.Second
	listenRetry = 2 * time.Second
)

// part holds the tasks of a host that is part of a fleet.
type part struct {
	cfg       Config
	keys      record.Keys
	client    *etcd.Client
	mirror    *mirror.Mirror
	publisher *publish.Publisher
	outage    *outage.Tracker
	fence     *fence.Fence
	nodes     *api.Nodes      // connections to other agents
	ctx       context.Context // of the tasks
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	claiming  keylock.Mutex[string]           // by network
	calls     map[netip.AddrPort]*api.Manager // to managers; under mu

	mu        sync.Mutex
	m         *membership.Membership
	memberErr error             // why the members of the store differ from the managers
	present   chan struct{}     // closed when the host sees itself alive for the first time
	info      *fleetv1.HostInfo // what this host has published
	probed    int               // hosts whose data path was checked
	usage     usage.Tracker

	changed chan struct{}    // see noteChange
	store   sync.Mutex       // held to start, stop and remove the store's process, or the gateway
	gateway *gateway.Running // to the external store; under store
}

func newPart(cfg Config, m *membership.Membership) (*part, error) {
	if err := membership.SignLate(cfg.Dir, m, cfg.Now()); err != nil {
		cfg.Log.Error("certificate not renewed", "error", err)
	}
	p := &part{cfg: cfg, keys: m.Keys(), m: m, nodes: api.NewNodes(), outage: outage.New(cfg.Log),
		fence:   fence.New(max(m.Generation, m.StoreGeneration)),
		present: make(chan struct{}),
		calls:   map[netip.AddrPort]*api.Manager{}, changed: make(chan struct{}, 1)}
	p.mirror = mirror.New(mirror.Config{Keys: p.keys, Fleet: m.Fleet, Host: m.Host, Name: m.Name, Address: m.Address,
		Path: filepath.Join(cfg.ReplicaDir, "replica"), Log: cfg.Log, Now: cfg.Now,
		Emit: p.emit, Restored: p.restored, Reached: p.outage.Note})
	var err error
	if p.client, err = etcd.Dial(m.Store, p.clientTLS("", pki.Manager)); err != nil {
		return nil, err
	}
	p.publisher = publish.New(p.client, p.mirror, p.keys.Epoch(m.Host))
	return p, nil
}

// start opens the listener and starts all tasks. If the listener must be open, it fails otherwise.
func (p *part) start(base context.Context, mustListen bool) error {
	p.ctx, p.cancel = context.WithCancel(base)
	l, err := p.listen(p.ctx)
	store := error(nil)
	if p.m.External != nil {
		store = roles{p}.ensureStore(p.ctx) // keepStore repeats it
	}
	if mustListen && (err != nil || store != nil) {
		p.cancel()
		if l != nil {
			store = errors.Join(store, l.Close())
		}
		return errors.Join(err, store, p.client.Close(), p.gateway.Stop())
	}
	p.tasks.Go(func() { p.serve(p.ctx, l, err) })
	p.tasks.Go(func() { roles{p}.keepStore(p.ctx) })
	p.tasks.Go(func() { roles{p}.keep(p.ctx) })
	p.tasks.Go(func() { p.sweep(p.ctx) })
	p.tasks.Go(func() { p.keepPresence(p.ctx) })
	p.tasks.Go(func() { p.client.Sync(p.ctx, p.keys.All(), sink{p}) })
	p.tasks.Go(func() { p.mirror.Save(p.ctx) })
	p.tasks.Go(func() { p.publisher.Run(p.ctx, func(err error) { p.cfg.Log.Warn("not published yet", "error", err) }) })
	p.tasks.Go(func() { p.follow(p.ctx) })
	p.tasks.Go(func() { p.returnIdle(p.ctx) })
	p.tasks.Go(func() { p.renewCertificates(p.ctx) })
	return nil
}

// stop ends all tasks. The store's process goes on.
func (p *part) stop() {
	p.cancel()
	p.tasks.Wait()
	p.store.Lock()
	if err := p.gateway.Stop(); err != nil {
		p.cfg.Log.Warn("gateway to the store not closed", "error", err)
	}
	p.store.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.calls {
		_ = m.Close() // all calls have ended
	}
	if err := errors.Join(p.client.Close(), p.nodes.Close()); err != nil {
		p.cfg.Log.Warn("connections not closed", "error", err)
	}
}

// listen opens the listener for other hosts.
func (p *part) listen(ctx context.Context) (net.Listener, error) {
	m := p.membership()
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return nil, fault.New(fault.Internal, "fleet membership", "has no address", fault.WithCause(err))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", joinPort(address, m.Port))
	if err != nil {
		return nil, fault.New(fault.Busy, "port "+joinPort(address, m.Port)+"/tcp", "cannot be opened for the fleet",
			fault.WithCause(err))
	}
	return l, nil
}

// serve serves other hosts until ctx ends. Without a listener it tries to open one: the address of the
// host can appear after the start of the agent.
func (p *part) serve(ctx context.Context, l net.Listener, err error) {
	hosts := api.Hosts{TLS: pki.ServerConfig(p.membership().CA, p.certificate, false, p.cfg.Now), Log: p.cfg.Log,
		Gate: p, Identify: p.identify, Accept: p.cfg.Accept}
	for {
		if err == nil {
			err = hosts.Serve(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		p.cfg.Log.Error("other hosts are not served", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
		l, err = p.listen(ctx)
	}
}

// membership returns the current membership, which is not changed.
func (p *part) membership() *membership.Membership {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m
}

// certificate returns the current certificate of this host.
func (p *part) certificate() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m.TLS()
}

// identify verifies the certificate of a connection. It was valid when the connection was made.
func (p *part) identify(state tls.ConnectionState) (pki.Identity, error) {
	now := p.cfg.Now()
	if certs := state.PeerCertificates; len(certs) > 0 && now.After(certs[0].NotAfter) {
		now = certs[0].NotAfter
	}
	return pki.PeerIdentity(state, p.membership().CA, now)
}

// list returns the hosts with their states, sorted by name.
func (p *part) list() ([]*fleetv1.Host, error) {
	var all []*fleetv1.Host
	p.mirror.Read(func(v *view.View) {
		for id, stored := range v.Hosts() {
			host := cloneHost(stored)
			host.State = fleetv1.HostState_HOST_STATE_SUSPECT
			if v.Alive(id) {
				host.State = fleetv1.HostState_HOST_STATE_ALIVE
			}
			all = append(all, host)
		}
	})
	slices.SortFunc(all, func(a, b *fleetv1.Host) int { return compareNames(a, b) })
	return all, p.outage.Err()
}

// admission returns the decisions of a manager.
func (p *part) admission() (admission.Admission, error) {
	m := p.membership()
	if !m.IsManager() {
		return admission.Admission{}, fault.New(fault.Denied, "host "+m.Name, "is not a manager",
			fault.WithHint("run the command on a manager; see fairlead fleet ls"))
	}
	a := admission.Admission{Keys: p.keys, Store: p.client, Authority: *m.Authority, Now: p.cfg.Now,
		Patiently: p.outage.Retry}
	if m.External != nil {
		a.Store = etcd.Foreign{Client: p.client}
	}
	return a, nil
}

// managers returns the addresses of the managers for agents, those that are alive first.
func (p *part) managers() []netip.AddrPort {
	hosts, _ := p.list()
	var alive, others []netip.AddrPort
	for _, h := range hosts {
		address, err := netip.ParseAddr(h.GetAddress())
		if err != nil || h.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER {
			continue
		}
		target := netip.AddrPortFrom(address, uint16(h.GetPort())) //nolint:gosec // a stored port
		if h.GetState() == fleetv1.HostState_HOST_STATE_ALIVE {
			alive = append(alive, target)
			continue
		}
		others = append(others, target)
	}
	return append(alive, others...)
}

// edit changes the membership and stores it.
func (p *part) edit(change func(*membership.Membership)) error {
	return p.editIf(func(m *membership.Membership) error {
		change(m)
		return nil
	})
}

// errUnchanged is returned by changes of the membership that are not needed.
var errUnchanged = errors.New("unchanged")

// editIf changes the membership and stores it, unless the change fails. There is one edit at a time.
func (p *part) editIf(change func(*membership.Membership) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.m
	if err := change(&next); err != nil {
		if errors.Is(err, errUnchanged) {
			return nil
		}
		return err
	}
	if err := membership.Save(p.cfg.Dir, &next); err != nil {
		return err
	}
	p.m = &next
	return nil
}
