// Package dnssockets opens sockets in containers' network namespaces and keeps them. dnsagent,
// which has no privilege to open them, receives them by fd passing. It neither reads nor answers
// queries.
//
// Each container's resolver has one UDP and one TCP socket. This process keeps them open too, so
// that they outlive dnsagent: queries wait in them, and the next dnsagent receives the same
// sockets.
package dnssockets

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Requests of dnsagent. Other values request a socket for upstream queries: "udp4", "udp6", "tcp4",
// "tcp6".
const (
	wantResolver = "resolver" // both sockets, UDP first
	wantForget   = "forget"   // no socket: the resolver is not needed any more
)

// Sandboxes finds the namespaces of containers. It returns NotFound if an owner has none.
type Sandboxes interface {
	Get(owner string) (network.Sandbox, error)
}

// Keeper keeps the sockets of all resolvers. It is safe for concurrent use.
type Keeper struct {
	sandboxes Sandboxes
	log       *slog.Logger

	mu   sync.Mutex
	kept map[string]*slot // by owner
}

// slot holds the sockets of one owner. Its lock is held while they are opened, so other owners need
// not wait.
type slot struct {
	mu     sync.Mutex
	pair   *pair // nil: not open
	closed bool  // removed from kept, and must not be used any more
}

// New returns a Keeper without sockets.
func New(sandboxes Sandboxes, log *slog.Logger) *Keeper {
	return &Keeper{sandboxes: sandboxes, log: log, kept: map[string]*slot{}}
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
	k.mu.Lock()
	p, ok := k.kept[owner]
	delete(k.kept, owner)
	k.mu.Unlock()
	if ok {
		p.close()
	}
}

func (k *Keeper) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.kept {
		p.close()
	}
	clear(k.kept)
}

func (p *slot) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(nil)
	p.closed = true
}

func (p *slot) replace(by *pair) {
	if p.pair != nil {
		p.pair.close()
	}
	p.pair = by
}

// lock finds or creates the slot of an owner and locks it.
func (k *Keeper) lock(owner string) *slot {
	for {
		k.mu.Lock()
		p, ok := k.kept[owner]
		if !ok {
			p = &slot{}
			k.kept[owner] = p
		}
		k.mu.Unlock()
		p.mu.Lock()
		if !p.closed {
			return p
		}
		p.mu.Unlock()
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
	if r.Kind == wantResolver {
		fds, err = k.resolver(r.Owner, path)
	} else {
		fds, err = upstreamSocket(path, r.Kind)
	}

	return fds, fault.Wrap(err, kindOf(err), subject(r.Owner), "cannot open DNS sockets")
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
// resolver looks the sandbox up again while it holds the slot.
func (k *Keeper) resolver(owner, path string) ([]int, error) {
	p := k.lock(owner)
	defer p.mu.Unlock()
	if _, err := k.sandboxes.Get(owner); err != nil {
		return nil, err
	}

	now, err := inode(path)
	if err != nil {
		return nil, err
	}

	if p.pair == nil || p.pair.namespace != now {
		p.replace(nil)
		if p.pair, err = open(path); err != nil {
			return nil, err
		}
		k.log.Debug("resolver sockets opened", "owner", owner)
	}

	return p.pair.duplicates()
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
