package driver

import (
	"context"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Driver implements the networks of one type: on the host, and in the namespaces of containers. A
// record of the store is the desired state, and a driver makes the kernel as the record says.
// Methods that return changes return those that they made. Suite drivertest runs against every
// implementation.
//
// Package bringup calls the methods of the network, and Compare. Those who hold the lock of an
// endpoint's owner call the methods of the endpoint.
type Driver interface {
	// EnsureNetwork creates or reconciles the network on the host, without its endpoints. created
	// reports that all endpoints must be applied: the network's link is new, or another one. With
	// guarded false, the network's loopback access stays disabled.
	EnsureNetwork(n network.Network, guarded bool) (changes []string, created bool, err error)
	// DeleteNetwork removes the network from the host. It may be missing or incomplete.
	DeleteNetwork(n network.Network) error
	// Compare returns what differs between the records and the host, by owner. It changes nothing,
	// and inspects only what needs no look into each endpoint: kernel events report the rest. It
	// holds no lock, so an owner whose sandbox is being changed can seem to differ.
	Compare(n network.Network, sandboxes []endpoint.Sandbox) (differences map[string][]string, err error)
	// Sweep applies all endpoints and removes objects of the network without a record. It must run
	// only at start, before a sandbox can be created. links returns the host links before any removal.
	Sweep(n network.Network, sandboxes []endpoint.Sandbox, links func() ([]kernel.Link, error)) (changes []string,
		err error)

	// Complete sets the driver-specific fields of an endpoint that has an ID, a name and addresses.
	Complete(network.Network, endpoint.Endpoint) endpoint.Endpoint
	// Attach creates the endpoint in a namespace. On failure, everything it created ends with the
	// namespace.
	Attach(ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint) error
	// Apply makes an endpoint as its record says: the interface, which it creates if it is missing,
	// its addresses and the former ones, its routes and MTU, and its entries on the host. It removes
	// the addresses in gone. Addresses and routes that the container added stay, unless an address of
	// the record was missing. It is idempotent. Without the network's link the error is Unavailable.
	Apply(ns *kernel.Namespace, n network.Network, owner string, e endpoint.Endpoint, gone []netip.Prefix) (
		changes []string, err error)
	// Detach stops the traffic of an endpoint, so that its addresses can be reused even while a
	// process holds the namespace. Neither the namespace nor the endpoint needs to exist.
	Detach(network.Network, endpoint.Sandbox, endpoint.Endpoint) error
	// Remove is Detach for an endpoint whose namespace stays. It returns after everything is
	// removed.
	Remove(network.Network, endpoint.Sandbox, endpoint.Endpoint) error

	// RunLinkGC deletes detached endpoints in the background until ctx ends.
	RunLinkGC(ctx context.Context, failed func(error))
}

// Leaser is a driver for networks whose addresses DHCP servers grant.
type Leaser interface {
	// AcquireLease creates the interface of an endpoint and acquires its DHCP leases, preferably
	// those of had. On failure, it removes the interface and releases the leases.
	AcquireLease(ctx context.Context, ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox, e,
		had endpoint.Endpoint) (endpoint.Endpoint, error)
	// RunDHCP runs one DHCP exchange for the lease of one family. It takes at most while.
	RunDHCP(ctx context.Context, ns *kernel.Namespace, n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint,
		ipv6 bool, m *lease.Client, while time.Duration) (lease.Event, error)
	// ReleaseLease releases the DHCP leases of an endpoint, which need not exist. It does not wait
	// long. An error means that the DHCP server may not know of it and the lease will expire.
	ReleaseLease(n network.Network, sb endpoint.Sandbox, e endpoint.Endpoint) error
}

// Set holds the drivers by name. Networks of other drivers have no endpoints.
type Set map[string]Driver
