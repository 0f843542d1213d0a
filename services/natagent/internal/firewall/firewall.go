// Package firewall is the contract between natagent and what translates and filters packets in the kernel.
//
// A backend owns a place of its own in the kernel (a table, a set of chains) and changes nothing outside it. It keeps
//
//   - guards, from the first Sync on: nothing from outside may speak to or from 127.0.0.0/8, nothing reaches a managed bridge
//     but answers, traffic of the same bridge and what was published, nothing enters or leaves an internal network;
//   - for each Network: masquerading of what leaves the host, and of hairpin connections;
//   - for each Binding: the translation of the host's port to the container's, or the opening of the container's own.
//
// What a backend has put into the kernel stays when natagent ends. Package firewall/firewalltest has the suite that every
// backend must pass. Host ports, sockets and the store are not a backend's business.
package firewall

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Network is what a backend must know of a network.
type Network struct {
	ID         string
	Bridge     string         // the device
	Subnets    []netip.Prefix // sorted, masked
	Masquerade bool           // what leaves by another interface takes the host's address
	ICC        bool           // the network's containers may talk to each other
	Internal   bool           // nothing may enter or leave

	Unprotected []netip.Prefix `json:",omitempty"` // those of Subnets whose containers anybody may reach at their own addresses
	Trusted     []string       `json:",omitempty"` // interfaces by which others may reach the containers so
	Routed      []netip.Prefix `json:",omitempty"` // those that are not translated: bindings are direct, what leaves keeps its address, and ICMP enters
	SNAT4       netip.Addr     // what leaves takes it; not valid: the address of the interface it leaves by
	SNAT6       netip.Addr
}

// State is all that a backend shall have in the kernel.
type State struct {
	Networks []Network
	Bindings []publication.Binding
}

// Mark is what somebody else writes on packets to let them pass. The zero Mark is none.
type Mark struct {
	Value, Mask uint32
}

// Change is what a Sync had to do.
type Change struct {
	Rebuilt bool                  // rules, not only elements, had to be written
	Added   int                   // elements that were missing
	Removed []publication.Binding // bindings that were there and should not
}

// Firewall is a backend. Every method is one transaction: it happens whole or not at all. Methods may be called at the same time.
type Firewall interface {
	// Sync makes the kernel be as wanted and changes only what differs: nothing at all if nothing differs.
	Sync(ctx context.Context, want State) (Change, error)
	// Compare returns what Sync would change, and changes nothing.
	Compare(ctx context.Context, want State) (Change, error)
	// AddBindings adds bindings. An error for any reason means that Sync must be asked.
	AddBindings(ctx context.Context, bindings []publication.Binding) error
	// RemoveBindings takes bindings out. An error for any reason means that Sync must be asked.
	RemoveBindings(ctx context.Context, bindings []publication.Binding) error
	// ReplaceBindings takes bindings out and adds others, which may be the same host ports that lead elsewhere. An error for any reason
	// means that Sync must be asked.
	ReplaceBindings(ctx context.Context, gone, fresh []publication.Binding) error
	// ReplaceNetwork puts a network in the place of an older version of it. old is nil for a new one; now is nil to take it out.
	ReplaceNetwork(ctx context.Context, old, now *Network) error
	// Watch signals that somebody else may have changed what is ours, until ctx ends. Signals may be lost while one waits to be read.
	Watch(ctx context.Context) (<-chan Modifier, error)
	// ForwardChains lists the chains of others that decide on forwarded packets too.
	ForwardChains(ctx context.Context) ([]ForwardChain, error)
	// Close lets go of the kernel. What is in it stays.
	Close() error
}

// Modifier is a program that changes rules, as the kernel tells of it.
type Modifier struct {
	Name string // empty: not known
	PID  uint32 // in the kernel's own count
}

// String is the program as messages name it.
func (s Modifier) String() string {
	if s.Name == "" {
		return "an unknown program"
	}
	return fmt.Sprintf("%s (pid %d)", s.Name, s.PID)
}

// ForwardChain is somebody else's say on forwarded packets.
type ForwardChain struct {
	Family string // ip, ip6 or inet
	Table  string
	Name   string
	Drops  bool // what no rule of it accepts is dropped
}
