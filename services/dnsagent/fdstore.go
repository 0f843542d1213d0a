package dnsagent

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/id"
)

// FDStore keeps open files for the process after this one: the service manager's, or a holder process. Clear ends the holding of all.
type FDStore interface {
	Available() bool
	Inherited() map[string][]*os.File
	Put(ctx context.Context, name string, file *os.File) error
	Drop(ctx context.Context, name string) error
	Clear(ctx context.Context) error
}

// noStore is where there is none.
type noStore struct{}

func (noStore) Available() bool                             { return false }
func (noStore) Inherited() map[string][]*os.File            { return nil }
func (noStore) Put(context.Context, string, *os.File) error { return nil }
func (noStore) Drop(context.Context, string) error          { return nil }
func (noStore) Clear(context.Context) error                 { return nil }

// What a resolver's sockets are called in the store, before the owner.
const (
	leftUDP = "udp."
	leftTCP = "tcp."
)

// leaveTime bounds how long sockets are left for; netagent has them else.
const leaveTime = 2 * time.Second

// resumeStored serves containers by the sockets that the process before has left, at once, with all that was asked meanwhile waiting in
// them. What it left of containers that are not known any more is closed.
func (s *resolvers) resumeStored(ctx context.Context) {
	left := s.store.Inherited()
	for name, files := range left {
		owner := strings.TrimPrefix(strings.TrimPrefix(name, leftUDP), leftTCP)
		if id.Valid(owner) && s.wanted(owner) && s.takeOne(owner, left) {
			continue
		}
		for _, f := range files {
			_ = f.Close()
		}
		s.log.DebugContext(ctx, "sockets that nobody needs are not kept any more", "name", name, "error", s.store.Drop(ctx, name))
	}
}

// takeOne tells whether an owner is served by what was left.
func (s *resolvers) takeOne(owner string, left map[string][]*os.File) bool {
	if s.serves(owner) {
		return true // by the other one of the two names
	}
	udp, tcp := left[leftUDP+owner], left[leftTCP+owner]
	if len(udp) != 1 || len(tcp) != 1 {
		return false
	}
	on, err := socketsOf([]*os.File{udp[0], tcp[0]})
	if err != nil {
		s.log.Warn("sockets that were left cannot be used", "owner", owner, "error", err)
		return false
	}
	_ = errors.Join(udp[0].Close(), tcp[0].Close()) // what is made of them has descriptors of its own
	on.left = true
	s.serve(owner, on)
	return true
}

// storeSockets gives the manager a resolver's sockets, in place of those that it may have.
func (s *resolvers) storeSockets(owner string, on *sockets) {
	if on.left || !s.store.Available() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	err := errors.Join(s.leaveOne(ctx, leftUDP+owner, on.udp), s.leaveOne(ctx, leftTCP+owner, on.tcp.(*net.TCPListener)))
	if err != nil {
		s.log.Warn("the service manager does not keep a resolver's sockets", "owner", owner, "error", err)
	}
}

func (s *resolvers) leaveOne(ctx context.Context, name string, socket interface{ File() (*os.File, error) }) error {
	file, err := socket.File()
	if err != nil {
		return err
	}
	return errors.Join(s.store.Put(ctx, name, file), file.Close())
}

// dropStored has the manager keep an owner's sockets no longer.
func (s *resolvers) dropStored(ctx context.Context, owner string) {
	if !s.store.Available() {
		return
	}
	if err := errors.Join(s.store.Drop(ctx, leftUDP+owner), s.store.Drop(ctx, leftTCP+owner)); err != nil {
		s.log.WarnContext(ctx, "the service manager still keeps a resolver's sockets", "owner", owner, "error", err)
	}
}
