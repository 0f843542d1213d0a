// Package networks makes and deletes networks: it chooses their subnets, has natagent guard them, and has them put on the host.
// What is on them is package sandbox's. A network is remembered first and deleted from memory last, so that whatever a crash
// leaves half done is found again: a making is completed, a deletion gone on with.
package networks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Host is what must be known of the host to choose bridges and subnets.
type Host interface {
	Link(name string) (kernel.Link, bool, error)
	Routes() ([]kernel.Route, error)
	RoutedPrefixes() ([]netip.Prefix, error)
	RoutesExcept(known map[netip.Prefix]bool) ([]kernel.Route, error)
	// WatchRoutes tells that routes have come or gone until ctx ends.
	WatchRoutes(ctx context.Context, tell func()) error
}

// NatClient asks natagent. When it acknowledges a network, that is put on the host before Put returns.
type NatClient interface {
	Apply(context.Context, network.Network) error
	Delete(context.Context, network.Network) error
}

// HostDriver takes networks off the host.
type HostDriver interface {
	// ApplyNetwork puts a network on the host that needs no guard.
	ApplyNetwork(networkID string) error
	Delete(network.Network) error
	// RemoveAddresses takes addresses off a network's bridge.
	RemoveAddresses(n network.Network, addresses []netip.Prefix) error
}

// Parents knows what networks of macvlan and ipvlan can be on.
type Parents interface {
	// Check refuses a parent that cannot be one, before anything is made.
	Check(network.Network) error
}

// Config is what a Manager works with.
type Config struct {
	Store  *store.Store
	Book   *ipam.Allocator
	Host   Host
	Guard  NatClient
	Ground HostDriver
	// Isolates tells why ports of a bridge cannot be kept apart; nil if they can.
	Isolates func() error
	// Parents is asked for networks that have one.
	Parents Parents
	// Sandboxes follow changes of their networks.
	Sandboxes Sandboxes
	// Space is where subnets come from that nobody gives; nil means Docker's ranges, and IPv6 addresses of the host's own.
	Space network.AddressPools
	// Options are those that networks of a driver have where their maker says nothing else.
	Options map[string]map[string]string
	// Nameservers are the host's, which no chosen subnet may hide.
	Nameservers func() []netip.Addr
	// Events are for those who want to know what happens to networks.
	Events *events.Broker
	Log    *slog.Logger
}

// Manager makes and deletes networks. It is safe for concurrent use.
type Manager struct {
	Config
	choosing sync.Mutex // one at a time chooses, so that two do not choose the same
}

// New makes a manager.
func New(cfg Config) *Manager { return &Manager{Config: cfg} }

// Create makes a network. Asked again with the same id and content it answers the same. If it fails, nothing is left.
func (m *Manager) Create(ctx context.Context, want network.Spec) (network.Network, error) {
	asked, err := json.Marshal(want)
	if err != nil {
		return network.Network{}, fault.Wrap(err, fault.Internal, "network "+want.Name, "cannot be written down")
	}
	if have, ok := m.Store.Network(want.ID); ok && want.ID != "" && have.Request == string(asked) && !have.Deleting {
		return have.Network, m.activate(ctx, have.Network)
	}
	if want.ID == "" {
		want.ID = id.New()
	}
	if want.ConfigFrom != "" {
		if want, err = m.configured(want); err != nil {
			return network.Network{}, err
		}
	}
	n, err := m.add(m.withOptions(want), string(asked))
	if err != nil {
		return network.Network{}, err
	}
	if err := m.activate(ctx, n); err != nil {
		return network.Network{}, errors.Join(err, m.undo(n))
	}
	m.emit(n, "create")
	return n, nil
}

// withOptions is a wanted network with the options that those of its driver have where nothing else is said.
func (m *Manager) withOptions(want network.Spec) network.Spec {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	if want.ConfigOnly {
		return want
	}
	return want.WithOptions(m.Options)
}

// configured is a wanted network with the configuration of the network that it names.
func (m *Manager) configured(want network.Spec) (network.Spec, error) {
	from, ok := m.Store.NetworkNamed(want.ConfigFrom)
	if !ok || !from.ConfigOnly {
		return want, fault.New(fault.NotFound, "network "+want.Name, `configuration network "`+want.ConfigFrom+`" does not exist`, fault.WithField("config_from"),
			fault.WithHint("make one: fairlead network create --config-only %s", want.ConfigFrom))
	}
	var config network.Spec
	if err := json.Unmarshal([]byte(from.Request), &config); err != nil {
		return want, fault.Wrap(err, fault.Internal, from.Subject(), "cannot be read")
	}
	return want.WithConfigFrom(config)
}

// activate has a network guarded, if it needs that, and put on the host.
func (m *Manager) activate(ctx context.Context, n network.Network) error {
	if n.ConfigOnly {
		return nil
	}
	if n.NeedsFirewall() {
		return m.Guard.Apply(ctx, n)
	}
	return m.Ground.ApplyNetwork(n.ID)
}

// add chooses what was not given and remembers the network.
func (m *Manager) add(want network.Spec, asked string) (network.Network, error) {
	n, err := want.Build()
	if err != nil {
		return n, err
	}
	n.CreatedAt = time.Now().UTC()
	m.choosing.Lock()
	defer m.choosing.Unlock()
	if _, ok := m.Store.NetworkNamed(n.Name); ok {
		return n, fault.New(fault.Exists, n.Subject(), "network with name "+n.Name+" already exists", fault.WithField("name"))
	}
	if n.ConfigOnly {
		return n, m.Store.AddNetwork(store.Network{Network: n, Request: asked})
	}
	if err := m.check(&n); err != nil {
		return n, err
	}
	if n.Pools, err = m.pools(n, want); err != nil {
		return n, err
	}
	return n, m.Store.AddNetwork(store.Network{Network: n, Request: asked})
}

// undo takes a network back that could not be made whole.
func (m *Manager) undo(n network.Network) error {
	if _, err := m.Store.MarkDeleting(n.ID, true); err != nil {
		return err
	}
	n.Name = ""
	_ = m.tearDown(context.Background(), n) // Finish goes on with it
	return nil
}

// check refuses a network whose place on the host cannot be had.
func (m *Manager) check(n *network.Network) error {
	if !n.HasParent() {
		return m.checkBridge(n)
	}
	for _, o := range m.Store.Networks() {
		if o.HasParent() && o.Parent == n.Parent {
			if err := network.CheckSharedParent(*n, o.Network); err != nil {
				return err
			}
		}
	}
	return m.Parents.Check(*n)
}

// checkBridge refuses a device that another network or something else has, and notes one that is there already.
func (m *Manager) checkBridge(n *network.Network) error {
	for _, o := range m.Store.Networks() {
		if o.Bridge == n.Bridge {
			return fault.New(fault.Exists, n.Subject(), fmt.Sprintf("cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name",
				id.Short(n.ID), n.Bridge, o.String(), o.Bridge), fault.WithField("options"))
		}
	}
	link, ok, err := m.Host.Link(n.Bridge)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot look for its bridge")
	}
	if ok && link.Kind != "bridge" {
		return fault.New(fault.Invalid, n.Subject(), "existing interface "+n.Bridge+" is not a bridge", fault.WithField("options"),
			fault.WithHint("choose another %s", network.OptBridgeName))
	}
	n.AdoptedBridge = ok
	return m.checkApart(n)
}

// Delete deletes a network that no sandbox is on.
func (m *Manager) Delete(ctx context.Context, ref string) (networkID string, err error) {
	n, err := m.Store.FindAnyNetwork(ref)
	if err != nil {
		return "", err
	}
	if n.Predefined {
		return "", fault.New(fault.Denied, n.Subject(), n.Name+" is a pre-defined network and cannot be removed")
	}
	for _, o := range m.Store.Networks() {
		if n.ConfigOnly && o.ConfigFrom == n.Name && !o.Deleting {
			return "", fault.New(fault.Busy, n.Subject(), `configuration network "`+n.Name+`" is in use`, fault.WithHint("delete network %s first", o.Name))
		}
	}
	on, err := m.Store.MarkDeleting(n.ID, false)
	if err != nil {
		return "", err
	}
	if len(on) > 0 {
		return "", inUse(n.Network, on)
	}
	return n.ID, m.tearDown(ctx, n.Network)
}

// tearDown ends a network that is marked as being deleted. Leases are given back while there is a way to the LAN; its guards go last.
func (m *Manager) tearDown(ctx context.Context, n network.Network) error {
	if err := errors.Join(m.Sandboxes.ReleaseNetworkLeases(n.ID), m.Ground.Delete(n)); err != nil {
		return err
	}
	if n.NeedsFirewall() {
		if err := m.Guard.Delete(ctx, n); err != nil {
			return err
		}
	}
	m.Book.RemoveNetwork(n.ID)
	was, err := m.Store.DeleteNetwork(n.ID)
	if err != nil {
		return err
	}
	if was && n.Name != "" { // else another one was faster, or it never came to be
		m.emit(n, "destroy")
	}
	return nil
}

// finishEvery is how often deletions are gone on with.
const finishEvery = 5 * time.Second

// RunDeletions goes on with deletions that did not come to their end, until ctx ends.
func (m *Manager) RunDeletions(ctx context.Context) {
	tick := time.NewTicker(finishEvery)
	defer tick.Stop()
	for {
		for _, n := range m.Store.Networks() {
			if n.Deleting {
				_ = m.tearDown(ctx, n.Network) // if it cannot be done now, then with the next tick
			}
		}
		_ = m.RemoveFormerPools(ctx) // so is this
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// inUse names who is on a network, as Docker does, but not more than a few.
func inUse(n network.Network, on []network.Sandbox) error {
	const most = 5
	text := "error while removing network: network " + n.Name + " has active endpoints ("
	for i, sb := range on[:min(most, len(on))] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("name:%q id:%q", sb.OwnerName, id.Short(sb.Owner))
	}
	if len(on) > most {
		text += fmt.Sprintf(", and %d more", len(on)-most)
	}
	return fault.New(fault.Busy, n.Subject(), text+")", fault.WithHint("disconnect or stop these containers first"))
}

// List answers all networks, by name.
func (m *Manager) List() []network.Network {
	var out []network.Network
	for _, n := range m.Store.Networks() {
		if !n.Deleting {
			out = append(out, n.Network)
		}
	}
	return out
}

// Find answers one.
func (m *Manager) Find(ref string) (network.Network, error) {
	n, err := m.Store.FindNetwork(ref)
	return n.Network, err
}

// PoolUsage tells how full a network's pools are, in their order.
func (m *Manager) PoolUsage(n network.Network) []ipam.Usage {
	var out []ipam.Usage
	for _, p := range n.Pools {
		out = append(out, m.Book.Count(n.ID, n.Addresses(p)))
	}
	return out
}
