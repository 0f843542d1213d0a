// Package dnssockets opens sockets in containers' namespaces for dnsagent, which may not, and keeps them.
//
// A container's resolver has one UDP and one TCP socket. This process keeps them open too, so that they outlive dnsagent: what is
// asked in the meantime waits in them, and the next dnsagent gets the very same ones. What is asked and answered is none of its
// business.
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

// What dnsagent asks for. All else is a socket to ask other servers with: "udp4", "udp6", "tcp4", "tcp6".
const (
	wantResolver = "resolver" // the two sockets, UDP first
	wantForget   = "forget"   // nothing; they are not needed any more
)

// Sandboxes knows where containers' namespaces are. It answers NotFound for those that have none.
type Sandboxes interface {
	Get(owner string) (network.Sandbox, error)
}

// Keeper keeps the sockets. It is safe for concurrent use.
type Keeper struct {
	sandboxes Sandboxes
	log       *slog.Logger

	mu   sync.Mutex
	kept map[string]*slot // by owner
}

// slot is where one owner's sockets are kept. To open them takes a while, for which nobody else has to wait.
type slot struct {
	mu     sync.Mutex
	pair   *pair // nil: none yet
	closed bool  // it was forgotten, and must not be used any more
}

// New makes a keeper that has nothing yet.
func New(sandboxes Sandboxes, log *slog.Logger) *Keeper {
	return &Keeper{sandboxes: sandboxes, log: log, kept: map[string]*slot{}}
}

// Serve hands sockets over at a unix socket until ctx ends, and then lets go of all of them. The socket comes from package fdpass.
func (k *Keeper) Serve(ctx context.Context, at *net.UnixListener) {
	defer k.forgetAll()
	if err := fdpass.Serve(ctx, at, k.handle); err != nil {
		k.log.Error("sockets for names are not handed over any more", "error", err)
	}
}

// Forget lets go of an owner's sockets, so that its namespace can go. No error if there are none.
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

// lock finds an owner's place and takes it.
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
	return fds, fault.Wrap(err, kindOf(err), subject(r.Owner), "its sockets for names cannot be opened")
}

// namespace is where an owner's is. The host's own has no resolver of ours.
func (k *Keeper) namespace(owner string) (string, error) {
	sb, err := k.sandboxes.Get(owner)
	if err != nil {
		return "", err
	}
	if sb.NetnsPath == "" {
		return "", fault.New(fault.Invalid, subject(owner), "has the host's network, which has no embedded resolver")
	}
	return sb.NetnsPath, nil
}

// resolver gives the sockets that are kept, if they are of the namespace that the owner has now, and opens them else. The sandbox may
// be released at the same time; whoever does that calls Forget afterwards, so it is looked for again when the place is taken.
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
		k.log.Debug("resolver's sockets opened", "owner", owner)
	}
	return p.pair.duplicates()
}

func kindOf(err error) fault.Kind {
	switch {
	case fault.Is(err, fault.NotFound), errors.Is(err, unix.ENOENT):
		return fault.NotFound // released in the meantime
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fault.Invalid
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fault.Exhausted
	}
	return fault.Unavailable
}

func subject(owner string) string { return "sandbox of " + id.Short(owner) }
