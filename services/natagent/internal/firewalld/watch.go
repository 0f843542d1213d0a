package firewalld

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// Watch calls nudge when firewalld was started or reloaded, until ctx ends: at once, and again later and later, as it may not have all its
// rules by then.
func (z *Client) Watch(ctx context.Context, nudge func()) {
	for ctx.Err() == nil {
		z.listen(ctx, nudge)
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

// listen passes firewalld's signals on until ctx ends, or the bus does. It has a connection of its own, that nothing else keeps busy.
func (z *Client) listen(ctx context.Context, nudge func()) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return // as a rule there is no bus; whoever starts one is found later
	}
	defer func() { _ = conn.Close() }()
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchInterface(name), dbus.WithMatchMember("Reloaded")},
		{dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, name)},
	} {
		if err := conn.AddMatchSignalContext(ctx, match...); err != nil {
			return
		}
	}
	for wait := time.Duration(0); ; { // it may have been started before anybody listened
		select {
		case <-ctx.Done():
			return
		case _, ok := <-signals:
			if !ok {
				return
			}
			wait = 0
		case <-time.After(wait):
			nudge()
			wait = longer(wait)
		}
	}
}

// longer is how long to wait after a look that came so long after the last one: it doubles, and after half a minute nothing is to be
// expected any more.
func longer(wait time.Duration) time.Duration {
	switch {
	case wait == 0:
		return 200 * time.Millisecond
	case wait > 15*time.Second:
		return time.Hour
	}
	return 2 * wait
}
