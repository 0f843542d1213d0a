// Package firewall defines the interface between natagent and a firewall backend.
//
// A backend manages its own table or chains and changes nothing outside. It maintains
//   - from the first Sync on, filters: 127.0.0.0/8 is dropped on other interfaces than lo; to a
//     managed bridge only replies, ICC and published ports are accepted; internal networks are
//     closed;
//   - for each Network, masquerade or SNAT of egress and of hairpin connections;
//   - for the Tunnel, filters that keep its networks apart, and check who sends which address;
//   - for each Binding, a DNAT rule or, for direct access, an accept rule.
//
// Its rules stay in the kernel when natagent exits. Package firewalltest has the tests that each
// backend must pass. Ports, sockets and the store are not part of a backend.
package firewall

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/proto/port"
)

// Network is the firewall configuration of a network.
type Network struct {
	ID         string
	Bridge     string         // the device name
	Subnets    []netip.Prefix // sorted, masked
	Masquerade bool           // masquerade egress
	ICC        bool           // accept traffic between the network's containers
	Internal   bool           // drop all ingress and egress

	Unprotected []netip.Prefix `json:",omitempty"` // subnets with direct access to all ports
	Trusted     []string       `json:",omitempty"` // interfaces with direct access to all ports
	Routed      []netip.Prefix `json:",omitempty"` // routed subnets: direct bindings, no SNAT, ICMP accepted
	SNAT4       netip.Addr     // source of IPv4 egress; zero: masquerade
	SNAT6       netip.Addr

	Tunnel    bool `json:",omitempty"` // it continues on other hosts, through the tunnel
	Encrypted bool `json:",omitempty"` // through the encrypted devices of the tunnel only
}

// Tunnel is the VXLAN device between the hosts of a fleet. Only traffic within a network with Tunnel
// passes it. Frames of the VNI are accepted from peers only, with source addresses of their blocks.
//
// Traffic of an encrypted network passes only the encrypted devices, which check sources themselves.
// It leaves and enters the host in no other way, also while these devices are missing.
type Tunnel struct {
	Device string // the device name
	VNI    uint32
	Port   uint16 // UDP port
	MTU    int    // of the device: the MSS of TCP connections is lowered to it
	Peers  []Peer // the other hosts, sorted by address

	Encrypted []Device `json:",omitempty"` // the encrypted devices
}

// Device is a device between the hosts of a fleet.
type Device struct {
	Name string
	MTU  int
}

// Peer is another host of the fleet.
type Peer struct {
	Address netip.Addr     // its underlay address
	Blocks  []netip.Prefix // the addresses of its containers, sorted, not overlapping
}

// State is the desired state of a backend.
type State struct {
	Networks []Network
	Tunnel   *Tunnel // nil: the host is in no fleet
	Bindings []port.Binding
}

// Mark is a packet mark that a third-party firewall sets on packets to be accepted. A zero Mask
// disables it.
type Mark struct {
	Value, Mask uint32
}

// Change describes what a Sync changed.
type Change struct {
	Rebuilt bool           // rules were written, not only elements
	Added   int            // number of missing elements
	Removed []port.Binding // bindings that were present but not desired
}

// Firewall is a backend. Each method is one transaction: it is applied completely or not at all. It
// is safe for concurrent use.
type Firewall interface {
	// Sync reconciles the kernel with want. It writes only differences.
	Sync(ctx context.Context, want State) (Change, error)
	// Compare returns what Sync would change, without changing it.
	Compare(ctx context.Context, want State) (Change, error)
	// AddBindings adds bindings. After an error, Sync must be called.
	AddBindings(ctx context.Context, bindings []port.Binding) error
	// RemoveBindings removes bindings. After an error, Sync must be called.
	RemoveBindings(ctx context.Context, bindings []port.Binding) error
	// ReplaceBindings removes bindings and adds others, possibly with the same host ports. After an
	// error, Sync must be called.
	ReplaceBindings(ctx context.Context, gone, fresh []port.Binding) error
	// ReplaceNetwork replaces a network. old is nil for a new network; now is nil to remove it.
	ReplaceNetwork(ctx context.Context, old, now *Network) error
	// ReplaceTunnel replaces the tunnel. old is nil if there was none; now is nil to remove it.
	ReplaceTunnel(ctx context.Context, old, now *Tunnel) error
	// Watch signals possible external changes to the backend's rules until ctx ends. A signal is
	// dropped if another one is not yet received.
	Watch(ctx context.Context) (<-chan Modifier, error)
	// ForwardChains lists the foreign chains at the forward hook.
	ForwardChains(ctx context.Context) ([]ForwardChain, error)
	// Close closes the netlink sockets. The rules stay.
	Close() error
}

// Modifier is a program that changed rules, as the kernel reports it.
type Modifier struct {
	Name string // empty: unknown
	PID  uint32 // in the initial PID namespace
}

// String returns the program's name in messages.
func (s Modifier) String() string {
	if s.Name == "" {
		return "an unknown program"
	}
	return fmt.Sprintf("%s (pid %d)", s.Name, s.PID)
}

// ForwardChain is a foreign chain at the forward hook.
type ForwardChain struct {
	Family string // ip, ip6 or inet
	Table  string
	Name   string
	Drops  bool // its policy is drop
}
