package dnsagent

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

// sockets holds the two sockets of a container's resolver.
type sockets struct {
	udp    *net.UDPConn
	tcp    net.Listener
	socket uint64
	left   bool // from the fd store, not from netagent
}

func (s *sockets) close() {
	if s != nil {
		_ = errors.Join(s.udp.Close(), s.tcp.Close()) // netagent keeps its descriptors
	}
}

// open requests the sockets of a container from netagent. It retries while netagent restarts.
func (s *resolvers) open(ctx context.Context, owner string) (*sockets, error) {
	return s.openBy(ctx, fdpass.AskAgain, owner)
}

func (s *resolvers) openBy(
	ctx context.Context, fetch func(context.Context, string, fdpass.Request) ([]*os.File, error), owner string,
) (*sockets, error) {
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

func socketsOf(files []*os.File) (*sockets, error) {
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

	return &sockets{udp: udp, tcp: tcp, socket: info.Sys().(*syscall.Stat_t).Ino}, nil
}
