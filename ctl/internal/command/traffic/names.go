package traffic

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/ctl/client"
)

// Names has the names of containers by address. It is for one goroutine.
type Names struct {
	read   func(context.Context) (*directory, error)
	dir    *directory
	readAt time.Time
}

// NewNames returns the names of the containers of an agent and of its fleet.
func NewNames(cl *client.Client) *Names {
	read := func(ctx context.Context) (*directory, error) { return readDirectory(ctx, cl) }
	return &Names{read: read, dir: &directory{}}
}

// Name returns the name of the container that has an address now, with its host if that is another one. It
// returns "" for other addresses, and if the agent does not respond. Containers are read again at most once a
// second.
func (n *Names) Name(ctx context.Context, address string) string {
	name := n.dir.nameOf(address)
	if name != "" || time.Since(n.readAt) < maxAge {
		return name
	}
	n.readAt = time.Now()
	if fresh, err := n.read(ctx); err == nil {
		n.dir = fresh
	}
	return n.dir.nameOf(address)
}

// nameOf returns the name of the container that has an address, or "".
func (d *directory) nameOf(address string) string {
	name, host := d.peer(owner{}, "", address)
	return line{Peer: name, PeerHost: host}.peerName()
}
