package driver

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Driver implements the networks of one type: on the host, and in the namespaces of containers.
// Suite drivertest runs against every implementation. Methods that return changes return those that
// they made.
type Driver interface {
	// Ensure creates or reconciles the network on the host. created is true if it is new. With
	// guarded false, its loopback access stays disabled.
	Ensure(n network.Network, guarded bool) (changes []string, created bool, err error)
	// Restore attaches the endpoints that were detached. Unless sweep is nil, it removes links
	// without a sandbox. sweep returns the host links before any removal.
	Restore(n network.Network, sandboxes []network.Sandbox, sweep func() ([]kernel.Link, error)) (changes []string,
		err error)
	// Delete removes the network from the host. It may be missing or incomplete.
	Delete(n network.Network) error
	// RunLinkGC deletes detached endpoints in the background until ctx ends.
	RunLinkGC(ctx context.Context, failed func(error))

	// CompleteEndpoint sets the driver-specific fields of an endpoint that has an ID, a name and
	// addresses.
	CompleteEndpoint(network.Network, network.Endpoint) network.Endpoint
	// Attach creates the endpoint in a namespace. On failure, everything it created ends with the
	// namespace.
	Attach(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) error
	// Detach stops the traffic of an endpoint, so that its addresses can be reused even while a
	// process holds the namespace. Neither the namespace nor the endpoint needs to exist.
	Detach(network.Network, network.Sandbox, network.Endpoint) error
	// UpdateEndpoint applies a change of the network to an endpoint in its namespace.
	UpdateEndpoint(*kernel.Namespace, network.Network, network.Endpoint) error
	// Renumber sets the addresses of an endpoint in its namespace, including the former ones, and
	// removes those in gone.
	Renumber(ns *kernel.Namespace, n network.Network, e network.Endpoint, gone []netip.Prefix) error
	// Remove is Detach for an endpoint whose namespace stays. It returns after everything is
	// removed.
	Remove(network.Network, network.Sandbox, network.Endpoint) error
}

// Healer is a driver that can repair an endpoint of a running container.
type Healer interface {
	// Heal compares an endpoint with the kernel, repairs it, and returns what differed.
	Heal(ns *kernel.Namespace, n network.Network, owner string, e network.Endpoint) (changes []string, err error)
}

// Leaser is a driver for networks whose addresses DHCP servers grant.
type Leaser interface {
	// AcquireLease creates the interface of an endpoint and acquires its DHCP leases, preferably
	// those of had. On failure, it removes the interface and releases the leases.
	AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e,
		had network.Endpoint) (network.Endpoint, error)
	// RunDHCP runs one DHCP exchange for the lease of one family. It takes at most while.
	RunDHCP(ctx context.Context, ns *kernel.Namespace, n network.Network, sb network.Sandbox, e network.Endpoint,
		ipv6 bool, m *lease.Client, while time.Duration) (lease.Event, error)
	// ApplyLease applies a changed lease to an endpoint in its namespace.
	ApplyLease(ns *kernel.Namespace, n network.Network, before, after network.Endpoint) error
	// ReleaseLease releases the DHCP leases of an endpoint, which need not exist. It does not wait
	// long. An error means that the DHCP server may not know of it and the lease will expire.
	ReleaseLease(n network.Network, sb network.Sandbox, e network.Endpoint) error
}

// Set holds the drivers by name. Networks of other drivers have no endpoints.
type Set map[string]Driver
