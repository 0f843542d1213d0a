package inside

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/tables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/nflog"
	"github.com/fairlead/fairlead/services/natagent/internal/nlfile"
)

// retry is the delay before a log is opened again.
const retry = time.Second

// namespace is the network namespace of a container with rules.
type namespace struct {
	cookie  uint64 // 0 before Linux 5.14
	table   *tables.Inside
	plan    *plan.Plan // that the table has; nil if that is not certain
	read    bool       // what an earlier process had learned is known
	flows   conntrack.Selected
	stop    func()      // reading the log and changes
	changed atomic.Bool // by another program
}

// openAt opens the namespace of a container, or returns the present one if it is the same.
func (n *Namespaces) openAt(ctx context.Context, owner string, present *namespace) (*namespace, error) {
	socket, err := n.Open(ctx, owner)
	if err != nil {
		return nil, err
	}
	cookie := cookieOf(socket)
	if present != nil && cookie != 0 && present.cookie == cookie {
		return present, socket.Close()
	}
	link, err := nflink.OpenOn(socket)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot be used in the container's namespace")
	}

	reading, stop := context.WithCancel(context.Background())
	s := &namespace{cookie: cookie, table: tables.NewInside(link), stop: stop,
		flows: conntrack.NewOn(n.Host, func() (*os.File, error) { return n.Open(reading, owner) })}
	first, err := n.openLog(ctx, owner) // before the first refusal
	if err != nil {
		n.Log.Info("refused packets are not recorded yet", "container", owner, "error", err)
	}
	changes, err := n.openChanges(ctx, owner) // before the first rule
	if err != nil {
		n.Log.Info("changes of rules in the namespace of a container are found later", "container", owner, "error", err)
	}
	go n.readLog(reading, owner, first)
	go n.watch(reading, owner, changes, link.Port(), func() { s.changed.Store(true) })
	return s, nil
}

// close closes the sockets. The rules stay.
func (s *namespace) close() error {
	s.stop()
	return s.table.Close()
}

// cookieOf returns the cookie of the network namespace of a socket, or 0.
func cookieOf(socket *os.File) (cookie uint64) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		cookie, _ = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	})
	return cookie
}

// readLog reads the log of a namespace until ctx ends. Another reader can still have it: the one of an earlier process,
// or of a kernel without cookies. refused is nil if it could not be opened yet.
func (n *Namespaces) readLog(ctx context.Context, owner string, refused *nflog.Log) {
	for ctx.Err() == nil {
		var err error
		if refused == nil {
			refused, err = n.openLog(ctx, owner)
		}
		if err == nil {
			err = refused.Read(ctx, n.Record, n.Lost)
		}
		if err == nil {
			return
		}
		refused = nil
		n.Log.Debug("refused packets are not recorded yet", "container", owner, "error", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
	if refused != nil {
		_ = refused.Close()
	}
}

func (n *Namespaces) openLog(ctx context.Context, owner string) (*nflog.Log, error) {
	socket, err := n.Open(ctx, owner)
	if err != nil {
		return nil, err
	}
	return nflog.OpenOn(socket, nflog.Group{Number: rules.Group, Length: rules.SnapLength})
}

// watch calls changed when another program than that of a port changes rules in a namespace, until ctx ends. changes is
// nil if they could not be opened yet.
func (n *Namespaces) watch(ctx context.Context, owner string, changes *nlfile.Changes, own uint32, changed func()) {
	for ctx.Err() == nil {
		var err error
		if changes == nil {
			if changes, err = n.openChanges(ctx, owner); err == nil {
				changed() // there can have been some meanwhile
			}
		}
		if err == nil {
			err = changes.Read(ctx, own, changed)
		}
		if err == nil {
			return
		}
		changes = nil
		n.Log.Debug("changes of rules in the namespace of a container are found later", "container", owner, "error",
			err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
	if changes != nil {
		_ = changes.Close()
	}
}

func (n *Namespaces) openChanges(ctx context.Context, owner string) (*nlfile.Changes, error) {
	socket, err := n.Open(ctx, owner)
	if err != nil {
		return nil, err
	}
	return nlfile.Subscribe(socket, unix.NFNLGRP_NFTABLES)
}
