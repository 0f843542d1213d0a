// Package networks creates, updates and deletes networks.
// It allocates subnets, requests firewall rules from natagent and applies networks to the host.
// Package sandbox manages the endpoints.
// A network is stored before it is applied and removed from the store last, so creation and
// deletion resume after a crash. Package api calls it.
package networks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lock"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Host reads the host's links and routes.
type Host interface {
	Link(name string) (kernel.Link, bool, error)
	Routes() ([]kernel.Route, error)
	RoutedPrefixes() ([]netip.Prefix, error)
	RoutesExcept(known map[netip.Prefix]bool) ([]kernel.Route, error)
	// WatchRoutes calls changed after each change of the routes, until ctx is canceled.
	WatchRoutes(ctx context.Context, changed func()) error
}

// Bringup applies networks to natagent and the host, and removes them.
type Bringup interface {
	// Sync returns after natagent has acknowledged the network and it is applied to the host.
	Sync(context.Context, network.Network) error
	// Remove removes the network from the host, and its firewall rules last.
	Remove(context.Context, network.Network) error
	// RemoveAddresses removes addresses from a network's bridge.
	RemoveAddresses(n network.Network, addresses []netip.Prefix) error
}

// Endpoints updates the endpoints of networks.
type Endpoints interface {
	// UpdateEndpoints applies a change of a network to its endpoints, except for new addresses.
	UpdateEndpoints(network.Network) error
}

// Leases holds the DHCP leases of stopped containers.
type Leases interface {
	// ReleaseNetwork releases the held leases of a network.
	ReleaseNetwork(networkID string) error
}

// Parents checks parent interfaces of macvlan and ipvlan networks.
type Parents interface {
	// Check rejects unusable parent interfaces before the network is created.
	Check(network.Network) error
}

// Fleet manages the networks that span the hosts of a fleet.
type Fleet interface {
	// Check returns an error on a host without a fleet.
	Check(context.Context, network.Network) error
	Create(ctx context.Context, n network.Network, pools []network.PoolSpec) (network.Network, error)
	Update(ctx context.Context, n network.Network, edit network.Update,
		follow func(context.Context, network.Network) error) (network.Network, error)
	Delete(context.Context, network.Network) error
	// More claims addresses for an exhausted pool.
	More(context.Context, network.PoolShortage) error
}

// Config holds the dependencies and settings of a Manager.
type Config struct {
	Store     *store.Store
	Locks     *lock.Set
	Allocator *ipam.Allocator
	Addresses Addresses
	Endpoints Endpoints
	Leases    Leases
	Host      Host
	Bringup   Bringup
	// Isolates returns the reason why bridge ports cannot be isolated; nil if they can.
	Isolates func() error
	// Parents checks the parent interfaces.
	Parents Parents
	// Fleet manages the networks of the fleet.
	Fleet Fleet
	// AddressPools are the source of subnets. Nil: Docker's ranges and the host's unique local prefix.
	AddressPools network.AddressPools
	// Options holds the default network options by driver.
	Options map[string]map[string]string
	// Limits are those of endpoints on networks without limits.
	Limits egress.Defaults
	// Nameservers returns the host's name servers. Allocated subnets must not contain them.
	Nameservers func() []netip.Addr
	// Events receives the network events.
	Events *events.Broker
	Log    *slog.Logger
}

// Manager creates, updates and deletes networks. It is safe for concurrent use.
type Manager struct {
	store       *store.Store
	locks       *lock.Set
	allocator   *ipam.Allocator
	addresses   Addresses
	endpoints   Endpoints
	leases      Leases
	host        Host
	bringup     Bringup
	isolates    func() error
	parents     Parents
	fleet       Fleet
	pools       network.AddressPools         // the edit lock must be held, as for options
	options     map[string]map[string]string // by driver
	nameservers func() []netip.Addr
	events      *events.Broker
	log         *slog.Logger
}

// New creates a manager.
func New(cfg Config) *Manager {
	cfg.Addresses.SetLimits(cfg.Limits)
	return &Manager{store: cfg.Store, locks: cfg.Locks, allocator: cfg.Allocator, addresses: cfg.Addresses,
		endpoints: cfg.Endpoints, leases: cfg.Leases, host: cfg.Host, bringup: cfg.Bringup,
		isolates: cfg.Isolates, parents: cfg.Parents, fleet: cfg.Fleet, pools: cfg.AddressPools, options: cfg.Options,
		nameservers: cfg.Nameservers, events: cfg.Events, log: cfg.Log}
}

// Create creates a network. It is idempotent for the same id and request. It removes everything it
// created on failure.
func (m *Manager) Create(ctx context.Context, want network.Draft) (network.Network, error) {
	asked, err := json.Marshal(want)
	if err != nil {
		return network.Network{}, fault.Wrap(err, fault.Internal, "network "+want.Name, "cannot be encoded")
	}

	if have, ok := m.store.Network(want.ID); ok && want.ID != "" && have.Request == string(asked) &&
		!have.Status.Deleting {
		return have.Network, m.activate(ctx, have.Network)
	}

	if want.ID == "" {
		want.ID = id.New()
	}

	if want.Driver == network.DriverOverlay {
		return createGlobal(ctx, m, want)
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

// withOptions returns the request with the driver's default options.
func (m *Manager) withOptions(want network.Draft) network.Draft {
	defer m.locks.Edit()()
	if want.ConfigOnly {
		return want
	}
	return want.WithOptions(m.options)
}

// configured returns the request with the configuration of its configuration network.
func (m *Manager) configured(want network.Draft) (network.Draft, error) {
	from, ok := m.store.NetworkNamed(want.ConfigFrom)
	if !ok || !from.IsConfigOnly() {
		return want, fault.New(fault.NotFound, "network "+want.Name,
			`configuration network "`+want.ConfigFrom+`" does not exist`,
			fault.WithField("config_from"),
			fault.WithHint("run fairlead network create --config-only %s", want.ConfigFrom))
	}
	var config network.Draft
	if err := json.Unmarshal([]byte(from.Request), &config); err != nil {
		return want, fault.Wrap(err, fault.Internal, from.Subject(), "cannot be read")
	}
	return want.WithConfigFrom(config)
}

// activate applies a network, with firewall rules if it needs them.
func (m *Manager) activate(ctx context.Context, n network.Network) error {
	if n.IsConfigOnly() {
		return nil
	}
	return m.bringup.Sync(ctx, n)
}

// add builds a network, allocates its missing subnets and stores it.
func (m *Manager) add(want network.Draft, asked string) (network.Network, error) {
	n, err := want.Build()
	if err != nil {
		return n, err
	}

	n.CreatedAt = time.Now().UTC()
	defer m.locks.Edit()()

	if _, ok := m.store.NetworkNamed(n.Name); ok {
		return n, fault.New(fault.Exists, n.Subject(), "network with name "+n.Name+" already exists",
			fault.WithField("name"))
	}

	if n.IsConfigOnly() {
		return n, m.store.AddNetwork(store.Network{Network: n, Request: asked})
	}

	if err := m.check(&n); err != nil {
		return n, err
	}

	if n.Spec.Pools, err = m.choosePools(n, want); err != nil {
		return n, err
	}

	return n, m.store.AddNetwork(store.Network{Network: n, Request: asked})
}

// undo removes a network that could not be applied.
func (m *Manager) undo(n network.Network) error {
	if _, err := m.store.MarkDeleting(n.ID, true); err != nil {
		return err
	}
	n.Name = ""
	_ = m.tearDown(context.Background(), n) // the controller retries
	return nil
}

// check rejects networks whose bridge or parent interface is not available.
func (m *Manager) check(n *network.Network) error {
	if !n.HasParent() {
		return m.checkBridge(n)
	}

	for _, o := range m.store.Networks() {
		if o.HasParent() && o.Parent().Link == n.Parent().Link {
			if err := network.CheckSharedParent(*n, o.Network); err != nil {
				return err
			}
		}
	}

	return m.parents.Check(*n)
}

// checkBridge rejects a link name that is in use, and records whether the bridge exists.
func (m *Manager) checkBridge(n *network.Network) error {
	for _, o := range m.store.Networks() {
		if o.Bridge().Device == n.Bridge().Device {
			return fault.New(fault.Exists, n.Subject(),
				fmt.Sprintf("cannot create network %s (%s): conflicts with network %s (%s): "+
					"networks have same bridge name", id.Short(n.ID), n.Bridge().Device, o.String(), o.Bridge().Device),
				fault.WithField("options"))
		}
	}

	link, ok, err := m.host.Link(n.Bridge().Device)
	if err != nil {
		return fault.Wrap(err, fault.Internal, n.Subject(), "cannot read its bridge")
	}

	if ok && link.Kind != "bridge" {
		return fault.New(fault.Invalid, n.Subject(), "existing interface "+n.Bridge().Device+" is not a bridge",
			fault.WithField("options"),
			fault.WithHint("choose another %s", network.OptBridgeName))
	}

	n.Status.AdoptedBridge = ok
	return m.checkIsolation(n)
}

// Delete deletes a network without sandboxes.
func (m *Manager) Delete(ctx context.Context, ref string) (networkID string, err error) {
	n, err := m.store.FindAnyNetwork(ref)
	if err != nil {
		return "", err
	}

	if n.IsPredefined() {
		return "", fault.New(fault.Denied, n.Subject(), n.Name+" is a pre-defined network and cannot be removed")
	}

	for _, o := range m.store.Networks() {
		if n.IsConfigOnly() && o.Spec.ConfigFrom == n.Name && !o.Status.Deleting {
			return "", fault.New(fault.Busy, n.Subject(), `configuration network "`+n.Name+`" is in use`,
				fault.WithHint("delete network %s first", o.Name))
		}
	}

	if n.IsGlobal() {
		return n.ID, deleteGlobal(ctx, m, n.Network)
	}

	on, err := m.store.MarkDeleting(n.ID, false)
	if err != nil {
		return "", err
	}

	if len(on) > 0 {
		return "", inUse(n.Network, on)
	}

	return n.ID, m.tearDown(ctx, n.Network)
}

// tearDown deletes a network that is marked as deleting. It releases DHCP leases while the LAN is
// reachable and deletes the firewall rules last.
func (m *Manager) tearDown(ctx context.Context, n network.Network) error {
	if err := errors.Join(m.leases.ReleaseNetwork(n.ID), m.bringup.Remove(ctx, n)); err != nil {
		return err
	}

	m.allocator.RemoveNetwork(n.ID)
	was, err := m.store.DeleteNetwork(n.ID)
	if err != nil {
		return err
	}

	if was && n.Name != "" { // otherwise deleted concurrently, or never created completely
		m.emit(n, "destroy")
	}

	return nil
}

// inUse returns the fault for a network with endpoints. It names the first few containers, as in
// Docker.
func inUse(n network.Network, on []endpoint.Sandbox) error {
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

// List returns all networks, sorted by name.
func (m *Manager) List() []network.Network {
	var out []network.Network
	for _, n := range m.store.Networks() {
		if !n.Status.Deleting {
			out = append(out, n.Network)
		}
	}
	return out
}

// Find returns the network with a name, an id or a unique prefix of an id.
func (m *Manager) Find(ref string) (network.Network, error) {
	n, err := m.store.FindNetwork(ref)
	return n.Network, err
}

// PoolUsage returns the usage of each of the network's pools, in their order.
func (m *Manager) PoolUsage(n network.Network) []ipam.Usage {
	var out []ipam.Usage
	for _, p := range n.Spec.Pools {
		out = append(out, m.allocator.Count(n.ID, n.Addresses(p)))
	}
	return out
}
