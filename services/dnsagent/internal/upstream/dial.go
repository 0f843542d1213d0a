package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
)

// retryInterval is the interval between requests to netagent while it does not respond, as during
// its restart.
const retryInterval = 100 * time.Millisecond

// DialHost connects from the network namespace of this process.
func DialHost(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, server.String())
}

// DialContainer returns a function that connects from the network of an owner. netagent opens the
// socket, since this process cannot enter the namespace, and this process connects it.
func DialContainer(
	socketServer, owner string,
) func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
		family, address := target(server)
		file, err := socket(ctx, socketServer, fdpass.Request{Kind: network + family, Owner: owner})
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if err := connect(ctx, file, address); err != nil {
			return nil, err
		}
		return net.FileConn(file)
	}
}

// target returns the family and the kernel's form of a server address. It drops the zone, which
// names an interface of another network.
func target(server netip.AddrPort) (family string, to unix.Sockaddr) {
	if server.Addr().Is4() {
		return "4", &unix.SockaddrInet4{Addr: server.Addr().As4(), Port: int(server.Port())}
	}
	return "6", &unix.SockaddrInet6{Addr: server.Addr().As16(), Port: int(server.Port())}
}

func socket(ctx context.Context, socketServer string, r fdpass.Request) (*os.File, error) {
	for {
		files, err := fdpass.Fetch(ctx, socketServer, r)
		if err == nil && len(files) == 1 {
			return files[0], nil
		}
		if err == nil {
			return nil, fault.New(fault.Internal, "socket "+socketServer, "did not send exactly one socket")
		}
		if !fault.Is(err, fault.Unavailable) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(retryInterval):
		}
	}
}

// connect waits until a socket is connected, without blocking a thread.
func connect(ctx context.Context, file *os.File, to unix.Sockaddr) error {
	defer context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })()

	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}

	begun := false
	var result error
	err = raw.Write(func(fd uintptr) (done bool) {
		if !begun {
			begun = true
			result = unix.Connect(int(fd), to)
			return !errors.Is(result, unix.EINPROGRESS)
		}
		result = outcome(int(fd))
		return !errors.Is(result, unix.EINPROGRESS)
	})

	return errors.Join(err, result)
}

// outcome returns the result of a pending connect.
func outcome(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case code != 0:
		return unix.Errno(code)
	}
	if _, err := unix.Getpeername(fd); errors.Is(err, unix.ENOTCONN) {
		return unix.EINPROGRESS
	}
	return nil
}
