package firewalld

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// Watch calls notify after a start or reload of firewalld, until ctx ends: immediately, and again
// with increasing delays, as its rules may be incomplete.
func (z *Client) Watch(ctx context.Context, notify func()) {
	for ctx.Err() == nil {
		z.listen(ctx, notify)
		select {
		case <-ctx.Done():
		case <-time.After(rewatchDelay):
		}
	}
}

// listen forwards firewalld's signals until ctx or the connection ends. It uses a separate
// connection.
func (z *Client) listen(ctx context.Context, notify func()) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return // usually D-Bus does not run; Watch retries
	}
	defer func() { _ = conn.Close() }()
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchInterface(name), dbus.WithMatchMember("Reloaded")},
		{dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"),
			dbus.WithMatchArg(0, name)},
	} {
		if err := conn.AddMatchSignalContext(ctx, match...); err != nil {
			return
		}
	}

	for wait := time.Duration(0); ; { // firewalld may have started before
		select {
		case <-ctx.Done():
			return
		case _, ok := <-signals:
			if !ok {
				return
			}
			wait = 0
		case <-time.After(wait):
			notify()
			wait = longer(wait)
		}
	}
}

// longer doubles the delay. After half a minute no more changes are expected.
func longer(wait time.Duration) time.Duration {
	switch {
	case wait == 0:
		return 200 * time.Millisecond
	case wait > 15*time.Second:
		return time.Hour
	}
	return 2 * wait
}
