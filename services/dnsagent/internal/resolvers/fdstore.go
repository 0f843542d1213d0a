package resolvers

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/id"
)

// FDStore keeps descriptors for the next process: systemd's, or that of a holder process. Clear
// drops all of them.
type FDStore interface {
	Available() bool
	Inherited() map[string][]*os.File
	Put(ctx context.Context, name string, file *os.File) error
	Drop(ctx context.Context, name string) error
	Clear(ctx context.Context) error
}

// noStore is an unavailable store.
type noStore struct{}

func (noStore) Available() bool                             { return false }
func (noStore) Inherited() map[string][]*os.File            { return nil }
func (noStore) Put(context.Context, string, *os.File) error { return nil }
func (noStore) Drop(context.Context, string) error          { return nil }
func (noStore) Clear(context.Context) error                 { return nil }

// Prefixes of the sockets' names in the store, before the owner.
const (
	prefixUDP = "udp."
	prefixTCP = "tcp."
)

// storeTime bounds a store request; netagent keeps the sockets too.
const storeTime = 2 * time.Second

// ResumeStored serves containers on the sockets stored by the former process, with all queries that
// wait in them. It closes sockets without a registration.
func (s *Resolvers) ResumeStored(ctx context.Context) {
	left := s.store.Inherited()
	for name, files := range left {
		owner := strings.TrimPrefix(strings.TrimPrefix(name, prefixUDP), prefixTCP)
		if id.Valid(owner) && s.wanted(owner) && s.takeOne(owner, left) {
			continue
		}
		for _, f := range files {
			_ = f.Close()
		}
		s.log.DebugContext(ctx, "unused sockets dropped", "name", name, "error", s.store.Drop(ctx, name))
	}
}

// takeOne reports whether an owner is served by stored sockets.
func (s *Resolvers) takeOne(owner string, left map[string][]*os.File) bool {
	if s.Serves(owner) {
		return true // by the other of the two names
	}

	udp, tcp := left[prefixUDP+owner], left[prefixTCP+owner]
	if len(udp) != 1 || len(tcp) != 1 {
		return false
	}

	on, err := socketsOf([]*os.File{udp[0], tcp[0]})
	if err != nil {
		s.log.Warn("stored sockets unusable", "owner", owner, "error", err)
		return false
	}

	_ = errors.Join(udp[0].Close(), tcp[0].Close()) // the sockets use duplicates
	on.left = true
	s.Serve(owner, on)
	return true
}

// storeSockets stores the sockets of a resolver, replacing earlier ones.
func (s *Resolvers) storeSockets(owner string, on *Sockets) {
	if on.left || !s.store.Available() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	err := errors.Join(s.storeOne(ctx, prefixUDP+owner, on.udp), s.storeOne(ctx, prefixTCP+owner,
		on.tcp.(*net.TCPListener)))
	if err != nil {
		s.log.Warn("fd store failed", "owner", owner, "error", err)
	}
}

func (s *Resolvers) storeOne(ctx context.Context, name string, socket interface{ File() (*os.File, error) }) error {
	file, err := socket.File()
	if err != nil {
		return err
	}
	return errors.Join(s.store.Put(ctx, name, file), file.Close())
}

// dropStored drops the sockets of an owner from the store.
func (s *Resolvers) dropStored(ctx context.Context, owner string) {
	if !s.store.Available() {
		return
	}
	if err := errors.Join(s.store.Drop(ctx, prefixUDP+owner), s.store.Drop(ctx, prefixTCP+owner)); err != nil {
		s.log.WarnContext(ctx, "fd store cannot drop sockets", "owner", owner, "error", err)
	}
}

// Clear drops all stored sockets, which keep network namespaces of containers.
func (s *Resolvers) Clear(ctx context.Context) error { return s.store.Clear(ctx) }
