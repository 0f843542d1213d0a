// Package nftables is the firewall backend for nf_tables. It manages the table inet fairlead over
// one persistent netlink socket.
//
// The rules are static and written once. Afterwards only elements of sets and maps change: a
// published port is one element of a hash map, so publishing and connecting take constant time.
//
// From Linux 6.9 on, the socket owns the table, which persists: no other program can change it, and
// it stays when natagent exits, until the next one claims it. Users cannot add rules to it. They
// can create a table with a forward chain at priority filter - 5, which is traversed before:
//
//	table inet mine { chain forward { type filter hook forward priority filter - 5; policy accept; } }
package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Features lists the optional kernel features that Probe found, and what the configuration adds.
type Features struct {
	Owner bool // the kernel supports table owners and persistence

	Accept firewall.Mark // packets with this mark are accepted
}

const subject = "table inet " + TableName

// Backend manages the table.
type Backend struct {
	events *nfevents.Source
	flags  nftables.TableFlags
	pid    uint32 // the socket's netlink port, which owns the table

	accept firewall.Mark // packets with this mark are accepted

	mu   sync.Mutex // serializes transactions
	conn *nflink.Link
	sets map[string]*nftables.Set
}

// Open opens the socket. It does not change the kernel before the first Sync. Watch uses events.
func Open(ns hostns.NS, events *nfevents.Source, f Features) (*Backend, error) {
	conn, err := nflink.Open(ns)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot open a netlink socket")
	}

	b := &Backend{events: events, conn: conn, pid: conn.Port(), accept: f.Accept, sets: map[string]*nftables.Set{}}
	if f.Owner {
		b.flags = nftables.TableFlagOwner | nftables.TableFlagPersist
	}

	for _, s := range sets(b.table()) {
		b.sets[s.Name] = s
	}

	return b, nil
}

// Close closes the socket. The table stays.
func (b *Backend) Close() error { return b.conn.Close() }

func (b *Backend) table() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet, Flags: b.flags}
}

// AddBindings implements firewall.Firewall.
func (b *Backend) AddBindings(ctx context.Context, bindings []port.Binding) error {
	return b.ReplaceBindings(ctx, nil, bindings)
}

// RemoveBindings implements firewall.Firewall.
func (b *Backend) RemoveBindings(ctx context.Context, bindings []port.Binding) error {
	return b.ReplaceBindings(ctx, bindings, nil)
}

// ReplaceBindings implements firewall.Firewall.
func (b *Backend) ReplaceBindings(ctx context.Context, gone, fresh []port.Binding) error {
	return b.change(ctx, bindingElements(gone), bindingElements(fresh))
}

// ReplaceNetwork implements firewall.Firewall.
func (b *Backend) ReplaceNetwork(ctx context.Context, old, now *firewall.Network) error {
	remove, add := networkElements(old), networkElements(now)
	return b.change(ctx, without(remove, add), without(add, remove))
}

// ReplaceTunnel implements firewall.Firewall.
func (b *Backend) ReplaceTunnel(ctx context.Context, old, now *firewall.Tunnel) error {
	remove, add := tunnelElements(old), tunnelElements(now)
	return b.change(ctx, without(remove, add), without(add, remove))
}

func bindingElements(bindings []port.Binding) []element {
	out := make([]element, 0, len(bindings))
	for _, bind := range bindings {
		out = append(out, elementsOf(bind)...)
	}
	return out
}

// without returns the elements of all that are not in some.
func without(all, some []element) []element {
	in := make(map[element]bool, len(some))
	for _, e := range some {
		in[e] = true
	}
	var out []element
	for _, e := range all {
		if !in[e] {
			out = append(out, e)
		}
	}
	return out
}

// change removes and adds elements in one transaction.
func (b *Backend) change(ctx context.Context, remove, add []element) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(b.queue(remove, true), b.queue(add, false)); err != nil {
		return err
	}
	return b.commit()
}

// queue adds elements to the transaction that commit sends. After an error the transaction is
// invalid.
func (b *Backend) queue(elements []element, remove bool) error {
	slices.SortFunc(elements, inKernelOrder)
	bySet := map[string][]nftables.SetElement{}
	for _, e := range elements {
		bySet[e.set] = append(bySet[e.set], e.kernel(remove))
	}

	for name, list := range bySet {
		put := b.conn.SetAddElements
		if remove {
			put = b.conn.SetDeleteElements
		}
		if err := put(b.sets[name], list); err != nil {
			return fmt.Errorf("encode elements of %s: %w", name, err)
		}
	}

	return nil
}

// commit sends the queued messages as one transaction.
func (b *Backend) commit() error { return kernelFault(b.conn.Flush()) }

// kernelFault converts an error of the kernel to a fault.
func kernelFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, subject, "cannot be changed: permission denied", fault.WithCause(err),
			fault.WithHint("grant natagent CAP_NET_ADMIN in the host's network namespace"))
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENFILE):
		return fault.New(fault.Exhausted, subject, "cannot be changed: the kernel is out of memory",
			fault.WithCause(err))
	}
	return fault.New(fault.Internal, subject, "cannot be changed", fault.WithCause(err))
}
