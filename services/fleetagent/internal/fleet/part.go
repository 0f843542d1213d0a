package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
	"github.com/fairlead/fairlead/services/fleetagent/internal/storeproc"
)

// How often a manager looks after its store's process, and a host tries to open its listener.
const (
	watchStore  = time.Second
	listenRetry = 2 * time.Second
)

// part holds the tasks of a host that is part of a fleet.
type part struct {
	cfg    Config
	keys   record.Keys
	client *etcd.Client
	nodes  *api.Nodes // connections to other agents
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex
	m        *membership.Membership
	hosts    map[string]*fleetv1.Host // by ID; the last good records
	alive    map[string]bool          // by ID
	storeErr error                    // why the store cannot be reached
	present  chan struct{}            // closed when the host sees itself alive for the first time
}

func newPart(cfg Config, m *membership.Membership) (*part, error) {
	p := &part{cfg: cfg, keys: record.ForFleet("", m.Fleet), m: m, hosts: map[string]*fleetv1.Host{},
		alive: map[string]bool{}, nodes: api.NewNodes(), present: make(chan struct{})}
	var err error
	p.client, err = etcd.Dial(m.Store, pki.ClientConfig(m.CA, p.certificate, "", cfg.Now))
	return p, err
}

// start opens the listener and starts all tasks. If the listener must be open, it fails otherwise.
func (p *part) start(base context.Context, mustListen bool) error {
	ctx, cancel := context.WithCancel(base)
	p.cancel = cancel
	l, err := p.listen(ctx)
	if err != nil && mustListen {
		cancel()
		return errors.Join(err, p.client.Close())
	}
	p.tasks.Go(func() { p.serve(ctx, l, err) })
	if p.m.IsManager() {
		p.tasks.Go(func() { p.keepStore(ctx) })
	}
	p.tasks.Go(func() {
		p.client.Keep(ctx, etcd.Presence{Key: p.keys.Presence(p.m.Host), Data: []byte(p.m.Host), Life: p.cfg.Lease},
			p.reached)
	})
	p.tasks.Go(func() { p.client.Follow(ctx, p.keys.Hosts(), p.setHosts, p.reached) })
	p.tasks.Go(func() { p.client.Follow(ctx, p.keys.Presences(), p.setAlive, p.reached) })
	p.tasks.Go(func() { p.renewCertificates(ctx) })
	return nil
}

// stop ends all tasks. The store's process goes on.
func (p *part) stop() {
	p.cancel()
	p.tasks.Wait()
	if err := errors.Join(p.client.Close(), p.nodes.Close()); err != nil {
		p.cfg.Log.Warn("connections not closed", "error", err)
	}
}

// listen opens the listener for other hosts.
func (p *part) listen(ctx context.Context) (net.Listener, error) {
	address, err := netip.ParseAddr(p.m.Address)
	if err != nil {
		return nil, fault.New(fault.Internal, "fleet membership", "has no address", fault.WithCause(err))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", joinPort(address, p.m.Port))
	if err != nil {
		return nil, fault.New(fault.Busy, "port "+joinPort(address, p.m.Port)+"/tcp", "cannot be opened for the fleet",
			fault.WithCause(err))
	}
	return l, nil
}

// serve serves other hosts until ctx ends. Without a listener it tries to open one: the address of the
// host can appear after the start of the agent.
func (p *part) serve(ctx context.Context, l net.Listener, err error) {
	hosts := api.Hosts{TLS: pki.ServerConfig(p.m.CA, p.certificate, false, p.cfg.Now), Log: p.cfg.Log, Gate: p,
		Identify: p.identify, Accept: p.cfg.Accept}
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

// keepStore starts the store's process, also again after it has exited.
func (p *part) keepStore(ctx context.Context) {
	for {
		if err := startStore(p.cfg, p.m, false); err != nil {
			p.cfg.Log.Error("store is not running", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchStore):
		}
	}
}

// startStore starts the store's process with the options of a membership.
func startStore(cfg Config, m *membership.Membership, existing bool) error {
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return err
	}
	process := storeproc.Process{Program: cfg.StoreProgram, Dir: cfg.StoreDir, Certs: cfg.Dir}
	peerURL := "https://" + joinPort(address, cfg.Ports.StorePeer)
	return process.Start(storeproc.Member{Name: m.Host, ClientURL: "https://" + joinPort(address,
		cfg.Ports.StoreClient),
		PeerURL: peerURL, Cluster: m.Host + "=" + peerURL, Existing: existing})
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

func (p *part) identify(state tls.ConnectionState) (pki.Identity, error) {
	return pki.PeerIdentity(state, p.m.CA, p.cfg.Now())
}

// reached notes whether the store can be reached.
func (p *part) reached(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && p.storeErr != nil:
		p.cfg.Log.Info("store can be reached again")
	case err != nil && p.storeErr == nil:
		p.cfg.Log.Warn("store cannot be reached", "error", err)
	}
	p.storeErr = err
}

// notePresence closes present when the host sees itself alive. The lock must be held.
func (p *part) notePresence() {
	if p.hosts[p.m.Host] == nil || !p.alive[p.m.Host] {
		return
	}
	select {
	case <-p.present:
	default:
		close(p.present)
	}
}

// setHosts takes over the host records. A damaged record is reported and the last good one is kept.
func (p *part) setHosts(values []etcd.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]*fleetv1.Host{}
	for _, v := range values {
		id, host := record.Last(v.Key), &fleetv1.Host{}
		err := record.Decode(v.Key, v.Data, host)
		if err == nil && host.GetId() != id {
			err = fault.New(fault.Internal, "record "+v.Key, "is of host "+host.GetId())
		}
		if err != nil {
			p.cfg.Log.Error("record ignored", "error", err)
			if host = p.hosts[id]; host == nil {
				continue
			}
		}
		next[id] = host
	}
	p.hosts = next
	p.notePresence()
}

func (p *part) setAlive(values []etcd.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = map[string]bool{}
	for _, v := range values {
		p.alive[record.Last(v.Key)] = true
	}
	p.notePresence()
}

// list returns the hosts with their states, sorted by name.
func (p *part) list() ([]*fleetv1.Host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*fleetv1.Host
	for id, stored := range p.hosts {
		host := cloneHost(stored)
		host.State = fleetv1.HostState_HOST_STATE_SUSPECT
		if p.alive[id] {
			host.State = fleetv1.HostState_HOST_STATE_ALIVE
		}
		all = append(all, host)
	}
	slices.SortFunc(all, func(a, b *fleetv1.Host) int { return compareNames(a, b) })
	return all, p.storeErr
}

// admission returns the decisions of a manager.
func (p *part) admission() (admission.Admission, error) {
	if !p.m.IsManager() {
		return admission.Admission{}, fault.New(fault.Denied, "host "+p.m.Name, "is not a manager",
			fault.WithHint("run the command on a manager; see fairlead fleet ls"))
	}
	return admission.Admission{Keys: p.keys, Store: p.client, Authority: *p.m.Authority, Now: p.cfg.Now}, nil
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

// setCertificate stores a renewed certificate with its key.
func (p *part) setCertificate(m *membership.Membership) error {
	if err := membership.Save(p.cfg.Dir, m); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m = m
	return nil
}
