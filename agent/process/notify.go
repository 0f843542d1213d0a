package process

import (
	"context"
	"net"
	"os"

	"github.com/fairlead/fairlead/agent/fault"
)

// Notifier tells the service manager how the agent is. Without a service manager it tells nobody.
type Notifier struct{ socket string }

// TakeNotifier takes the manager's socket out of the environment, so that containers' processes do not speak for the agent.
func TakeNotifier() (Notifier, error) {
	n := Notifier{os.Getenv("NOTIFY_SOCKET")}
	return n, os.Unsetenv("NOTIFY_SOCKET")
}

// Ready says that the agent can be used.
func (n Notifier) Ready(ctx context.Context) error { return n.tell(ctx, "READY=1") }

// Stopping says that the agent is on its way out.
func (n Notifier) Stopping(ctx context.Context) error { return n.tell(ctx, "STOPPING=1") }

func (n Notifier) tell(ctx context.Context, state string) error {
	if n.socket == "" {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "service manager", "cannot be told "+state)
	}
	_, err = conn.Write([]byte(state))
	_ = conn.Close() // the datagram is out or err says why not
	return fault.Wrap(err, fault.Unavailable, "service manager", "cannot be told "+state)
}
