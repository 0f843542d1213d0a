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

// retryInterval is how often netagent is asked for a socket while it does not answer, as during its restart.
const retryInterval = 100 * time.Millisecond

// DialHost connects from the network that this process is in.
func DialHost(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, server.String())
}

// DialContainer connects from an owner's network. This process may not enter it, so netagent opens the socket, and it is connected
// here.
func DialContainer(keeper, owner string) func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
		family, address := target(server)
		file, err := socket(ctx, keeper, fdpass.Request{Kind: network + family, Owner: owner})
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

// target is a server's address as the kernel takes it, and its family. A zone would name an interface of another network.
func target(server netip.AddrPort) (family string, to unix.Sockaddr) {
	if server.Addr().Is4() {
		return "4", &unix.SockaddrInet4{Addr: server.Addr().As4(), Port: int(server.Port())}
	}
	return "6", &unix.SockaddrInet6{Addr: server.Addr().As16(), Port: int(server.Port())}
}

func socket(ctx context.Context, keeper string, r fdpass.Request) (*os.File, error) {
	for {
		files, err := fdpass.Fetch(ctx, keeper, r)
		if err == nil && len(files) == 1 {
			return files[0], nil
		}
		if err == nil {
			return nil, fault.New(fault.Internal, "socket "+keeper, "did not hand over one socket")
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

// connect waits until a socket is connected. It does not hold a thread while it waits.
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

// outcome is what became of a connection under way.
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
