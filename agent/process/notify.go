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

// Notifier tells the service manager how the agent is. Without a service manager it tells nobody.
type Notifier struct{ socket string }

// NotifierFromEnv takes the manager's socket out of the environment, so that containers' processes do not speak for the agent.
func NotifierFromEnv() (Notifier, error) {
	n := Notifier{os.Getenv("NOTIFY_SOCKET")}
	return n, os.Unsetenv("NOTIFY_SOCKET")
}

// Ready says that the agent can be used.
func (n Notifier) Ready(ctx context.Context) error { return n.notify(ctx, "READY=1") }

// Stopping says that the agent is on its way out.
func (n Notifier) Stopping(ctx context.Context) error { return n.notify(ctx, "STOPPING=1") }

// patience is how long a manager may take to read what it is told.
const patience = 2 * time.Second

// notify sends a state, and descriptors with it. The manager gets duplicates.
func (n Notifier) notify(ctx context.Context, state string, fds ...int) error {
	if n.socket == "" {
		return nil
	}
	first, _, _ := strings.Cut(state, "\n")
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "service manager", "cannot be told "+first)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	err = send(conn.(*net.UnixConn), state, rights)
	_ = conn.Close() // the datagram is out or err says why not
	return fault.Wrap(err, fault.Unavailable, "service manager", "cannot be told "+first)
}

// send sends one datagram with descriptors, which the net package does not do on a connected socket of this kind.
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
