package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
)

// Sockets holds the two sockets of a container's resolver.
type Sockets struct {
	udp    *net.UDPConn
	tcp    net.Listener
	socket uint64
	left   bool // from the fd store, not from netagent
}

// Close closes the sockets. It does nothing for nil.
func (s *Sockets) Close() {
	if s != nil {
		_ = errors.Join(s.udp.Close(), s.tcp.Close()) // netagent keeps its descriptors
	}
}

// Open requests the sockets of a container from netagent. It retries while netagent restarts.
func (s *Resolvers) Open(ctx context.Context, owner string) (*Sockets, error) {
	return s.openBy(ctx, fdpass.AskAgain, owner)
}

func (s *Resolvers) openBy(
	ctx context.Context, fetch func(context.Context, string, fdpass.Request) ([]*os.File, error), owner string,
) (*Sockets, error) {
	files, err := fetch(ctx, s.socketServer, fdpass.Request{Kind: wantSockets, Owner: owner})
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // the sockets use duplicates
		}
	}()
	on, err := socketsOf(files)
	return on, fault.Wrap(err, fault.Internal, "socket "+s.socketServer, "did not send two sockets")
}

func socketsOf(files []*os.File) (*Sockets, error) {
	if len(files) != 2 {
		return nil, fmt.Errorf("got %d files", len(files))
	}

	info, err := files[0].Stat()
	if err != nil {
		return nil, err
	}

	packets, err := net.FilePacketConn(files[0])
	if err != nil {
		return nil, err
	}

	udp, ok := packets.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("got %T for UDP", packets), packets.Close())
	}

	tcp, err := net.FileListener(files[1])
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}

	return &Sockets{udp: udp, tcp: tcp, socket: info.Sys().(*syscall.Stat_t).Ino}, nil
}
