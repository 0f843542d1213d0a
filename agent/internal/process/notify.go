package process

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// Notifier notifies the service manager (sd_notify). Without a service manager it does nothing.
type Notifier struct{ socket string }

// NotifierFromEnv reads and unsets NOTIFY_SOCKET, so that child processes cannot notify the
// manager.
func NotifierFromEnv() (Notifier, error) {
	n := NotifierTo(os.Getenv("NOTIFY_SOCKET"))
	return n, os.Unsetenv("NOTIFY_SOCKET")
}

// NotifierTo returns a notifier for the socket of a service manager; empty means none.
func NotifierTo(socket string) Notifier { return Notifier{socket} }

// Ready reports that the agent is ready.
func (n Notifier) Ready(ctx context.Context) error { return n.notify(ctx, "READY=1") }

// Stopping reports that the agent is stopping.
func (n Notifier) Stopping(ctx context.Context) error { return n.notify(ctx, "STOPPING=1") }

// notifyTimeout is the time limit of sending a notification.
const notifyTimeout = 2 * time.Second

// notify sends a state and duplicates of descriptors.
func (n Notifier) notify(ctx context.Context, state string, fds ...int) error {
	if n.socket == "" {
		return nil
	}

	first, _, _ := strings.Cut(state, "\n")
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "service manager", "sd_notify "+first+" failed")
	}

	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}

	_ = conn.SetWriteDeadline(time.Now().Add(notifyTimeout))
	err = send(conn.(*net.UnixConn), state, rights)
	_ = conn.Close() // the datagram is sent, or err is set
	return fault.Wrap(err, fault.Unavailable, "service manager", "sd_notify "+first+" failed")
}

// send sends one datagram with descriptors, which package net does not support on connected sockets
// of this type.
func send(conn *net.UnixConn, text string, rights []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) (done bool) {
		sent = unix.Sendmsg(int(fd), []byte(text), rights, nil, 0)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}
