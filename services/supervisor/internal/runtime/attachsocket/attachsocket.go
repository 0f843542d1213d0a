// Package attachsocket connects to the socket of a container's monitor. Package runtime uses it.
package attachsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// acceptTime bounds the wait for the monitor to accept a connection.
const acceptTime = 2 * time.Second

// AwaitAccepted waits until a monitor has accepted a connection, at most two seconds. The monitor sends
// output only to connections that it has accepted, and a connection succeeds before. The kernel does not
// report this to the client, but the monitor has one open file more.
func AwaitAccepted(ctx context.Context, monitor, before int) {
	for end := time.Now().Add(acceptTime); OpenFiles(monitor) <= before && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// OpenFiles returns the number of open files of a process, 0 if it has ended.
func OpenFiles(pid int) int {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	return len(names)
}
