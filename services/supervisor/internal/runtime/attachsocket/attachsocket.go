// Package attachsocket connects to the socket of a container's monitor. Package runtime uses it.
package attachsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// queueTime limits the time until the monitor has accepted earlier clients.
const queueTime = 10 * time.Second

// Dial connects to the socket in the bundle of a container. It opens the directory first and uses the path
// of its descriptor, because a socket path is limited to 107 bytes.
func Dial(ctx context.Context, bundle string) (*net.UnixConn, error) {
	dir, err := unix.Open(bundle, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()

	// The queue of the socket holds ten clients. While it is full, a connection fails with EAGAIN.
	addr := &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/attach", dir), Net: "unixpacket"}
	for start := time.Now(); ; {
		conn, err := net.DialUnix("unixpacket", nil, addr)
		if !errors.Is(err, unix.EAGAIN) || time.Since(start) > queueTime {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
