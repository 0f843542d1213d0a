// Package nftables is the firewall backend on nf_tables: one table, inet fairlead, spoken to over one lasting netlink socket.
//
// The rules are a fixed skeleton, written once; afterwards only elements of sets and maps change. A published port is one
// element of a hash map, so publishing costs the same with ten ports and with ten thousand, and so does a new connection.
//
// Where the kernel can (6.9 and later) the table is owned by the socket and persists: nobody else can change or flush it
// while natagent runs, and it stays when natagent ends, for the next one to claim. It follows that users cannot put rules
// into it. A table of their own with a forward chain at priority filter - 5 comes first, and what it drops is dropped:
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
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// Features is what Probe found out about the kernel beyond what is needed.
type Features struct {
	Owner bool // tables can be owned and persist

	Accept firewall.Mark // packets with it shall pass
}

const subject = "table inet " + TableName

// Backend is the table.
type Backend struct {
	ns    hostns.NS
	flags nftables.TableFlags
	pid   uint32 // the socket's netlink port: who owns the table

	accept firewall.Mark // packets with it pass

	mu   sync.Mutex // one transaction at a time
	conn *nflink.Link
	sets map[string]*nftables.Set
}

// Open opens the socket. The kernel is not changed before the first Sync.
func Open(ns hostns.NS, f Features) (*Backend, error) {
	conn, err := nflink.Open(ns)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot open a netlink socket")
	}
	b := &Backend{ns: ns, conn: conn, pid: conn.Port(), accept: f.Accept, sets: map[string]*nftables.Set{}}
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

// AddBindings adds bindings.
func (b *Backend) AddBindings(ctx context.Context, bindings []publication.Binding) error {
	return b.ReplaceBindings(ctx, nil, bindings)
}

// RemoveBindings takes bindings out.
func (b *Backend) RemoveBindings(ctx context.Context, bindings []publication.Binding) error {
	return b.ReplaceBindings(ctx, bindings, nil)
}

// ReplaceBindings takes bindings out and adds others.
func (b *Backend) ReplaceBindings(ctx context.Context, gone, fresh []publication.Binding) error {
	return b.change(ctx, bindingElements(gone), bindingElements(fresh))
}

// ReplaceNetwork puts a network in the place of an older version of it.
func (b *Backend) ReplaceNetwork(ctx context.Context, old, now *firewall.Network) error {
	remove, add := networkElements(old), networkElements(now)
	return b.change(ctx, without(remove, add), without(add, remove))
}

func bindingElements(bindings []publication.Binding) []element {
	out := make([]element, 0, len(bindings))
	for _, bind := range bindings {
		out = append(out, elementsOf(bind)...)
	}
	return out
}

// without gives the elements of all that are not among some.
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

// queue adds elements to the transaction that commit sends. An error spoils the transaction.
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

// commit sends what is queued as one transaction.
func (b *Backend) commit() error { return explain(b.conn.Flush()) }

// explain makes the kernel's answer a fault.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, subject, "the kernel refuses to change it", fault.WithCause(err),
			fault.WithHint("natagent needs CAP_NET_ADMIN in the host's network namespace"))
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENFILE):
		return fault.New(fault.Exhausted, subject, "the kernel has no room for it", fault.WithCause(err))
	}
	return fault.New(fault.Internal, subject, "the kernel refuses a change", fault.WithCause(err))
}
