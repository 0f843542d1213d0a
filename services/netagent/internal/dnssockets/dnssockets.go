// Package dnssockets opens sockets in containers' network namespaces and keeps them. dnsagent,
// which has no privilege to open them, receives them by fd passing. It neither reads nor answers
// queries. natagent receives netlink sockets in the same way, for rules in the namespaces.
//
// Each container's resolver has one UDP and one TCP socket. This process keeps them open too, so
// that they outlive dnsagent: queries wait in them, and the next dnsagent receives the same
// sockets.
package dnssockets

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/keylock"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

// Requests of dnsagent. Other values request a socket for upstream queries: "udp4", "udp6", "tcp4",
// "tcp6".
const (
	wantResolver = "resolver" // both sockets, UDP first
	wantForget   = "forget"   // no socket: the resolver is not needed any more

	wantNetfilter = "netfilter" // request of natagent: a netlink socket for rules
)

// Sandboxes finds the namespaces of containers. It returns NotFound if an owner has none.
type Sandboxes interface {
	Get(owner string) (endpoint.Sandbox, error)
}

// Keeper keeps the sockets of all resolvers. It is safe for concurrent use.
type Keeper struct {
	sandboxes Sandboxes
	log       *slog.Logger
	owners    keylock.Mutex[string] // held while an owner's sockets are opened or closed

	mu   sync.Mutex
	kept map[string]*pair // by owner
}

// New returns a Keeper without sockets.
func New(sandboxes Sandboxes, log *slog.Logger) *Keeper {
	return &Keeper{sandboxes: sandboxes, log: log, kept: map[string]*pair{}}
}

// Serve passes sockets over a Unix socket until ctx ends, and then closes all of them. Package
// fdpass creates the listener.
func (k *Keeper) Serve(ctx context.Context, at *net.UnixListener) {
	defer k.forgetAll()
	if err := fdpass.Serve(ctx, at, k.handle); err != nil {
		k.log.Error("fd passing stopped, resolvers cannot be opened", "error", err)
	}
}

// Forget closes an owner's sockets, so that its namespace can be deleted. It does nothing if there
// are none.
func (k *Keeper) Forget(owner string) {
	defer k.owners.Lock(owner)()
	k.replace(owner, nil)
}

func (k *Keeper) forgetAll() {
	k.mu.Lock()
	owners := slices.Collect(maps.Keys(k.kept))
	k.mu.Unlock()
	for _, owner := range owners {
		k.Forget(owner)
	}
}

// pairOf returns the sockets of an owner; nil if there are none. Its lock must be held.
func (k *Keeper) pairOf(owner string) *pair {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[owner]
}

// replace closes the sockets of an owner and keeps others, unless by is nil. Its lock must be held.
func (k *Keeper) replace(owner string, by *pair) {
	k.mu.Lock()
	had := k.kept[owner]
	if k.kept[owner] = by; by == nil {
		delete(k.kept, owner)
	}
	k.mu.Unlock()
	if had != nil {
		had.close()
	}
}

func (k *Keeper) handle(_ context.Context, r fdpass.Request) ([]int, error) {
	if r.Kind == wantForget {
		k.Forget(r.Owner)
		return nil, nil
	}

	path, err := k.namespace(r.Owner)
	if err != nil {
		return nil, err
	}

	var fds []int
	switch r.Kind {
	case wantResolver:
		fds, err = k.resolver(r.Owner, path)
	case wantNetfilter:
		fds, err = netfilterSocket(path)
	default:
		fds, err = upstreamSocket(path, r.Kind)
	}

	return fds, fault.Wrap(err, kindOf(err), subject(r.Owner), "cannot open sockets")
}

// namespace returns the path of an owner's namespace. The host's own has no embedded resolver.
func (k *Keeper) namespace(owner string) (string, error) {
	sb, err := k.sandboxes.Get(owner)
	if err != nil {
		return "", err
	}
	if sb.NetnsPath == "" {
		return "", fault.New(fault.Invalid, subject(owner), "uses the host's network, which has no embedded resolver")
	}
	return sb.NetnsPath, nil
}

// resolver returns the sockets of an owner, and opens them if there are none for its current
// namespace. A concurrent release of the sandbox calls Forget after the sandbox is removed, so
// resolver looks the sandbox up again while it holds the owner's lock.
func (k *Keeper) resolver(owner, path string) ([]int, error) {
	defer k.owners.Lock(owner)()
	if _, err := k.sandboxes.Get(owner); err != nil {
		return nil, err
	}

	now, err := inode(path)
	if err != nil {
		return nil, err
	}

	p := k.pairOf(owner)
	if p == nil || p.namespace != now {
		k.replace(owner, nil)
		if p, err = open(path); err != nil {
			return nil, err
		}
		k.replace(owner, p)
		k.log.Debug("resolver sockets opened", "owner", owner)
	}

	return p.duplicates()
}

func kindOf(err error) fault.Kind {
	switch {
	case fault.Is(err, fault.NotFound), errors.Is(err, unix.ENOENT):
		return fault.NotFound // released meanwhile
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fault.Invalid
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fault.Exhausted
	}
	return fault.Unavailable
}

func subject(owner string) string { return "sandbox of " + id.Short(owner) }
