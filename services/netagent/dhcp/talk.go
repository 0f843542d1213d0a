// Package dhcp speaks with a LAN's servers of addresses: DHCP, DHCPv6 and routers that advertise. What is said when is package lease's;
// what it looks like on the wire is here. Sockets come from the kernel's door.
package dhcp

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/services/netagent/lease"
)

// Wire is a socket for whole frames on the client's interface.
type Wire interface {
	Write(frame []byte) error
	// Read answers a frame's length, and whether its sums were never made.
	Read(buf []byte) (n int, unsummed bool, err error)
	// Until bounds the Reads that follow.
	Until(t time.Time) error
}

// protocol writes the question of a machine's state and reads what answers it; false if it does not.
type protocol interface {
	question(m *lease.Machine) []byte
	answer(frame []byte, unsummed bool, m *lease.Machine) (lease.Answer, bool)
}

// maxFrame is more than servers send: what is longer is cut off, and then is no message.
const maxFrame = 4096

// talk asks and listens as the machine says, until something has happened or the limit is reached: then it is lease.Nothing.
func talk(ctx context.Context, w Wire, p protocol, m *lease.Machine, limit time.Time) (lease.Event, error) {
	stop := context.AfterFunc(ctx, func() { _ = w.Until(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxFrame)
	for {
		now := time.Now()
		event, ask, wake := m.At(now)
		if event != lease.Nothing || ctx.Err() != nil || !now.Before(limit) {
			return event, ctx.Err()
		}
		if ask {
			if err := w.Write(p.question(m)); err != nil {
				return lease.Nothing, err
			}
		}
		if wake.IsZero() || wake.After(limit) {
			wake = limit
		}
		event, err := hear(ctx, w, p, m, wake, buf)
		if event != lease.Nothing || err != nil {
			return event, err
		}
	}
}

// hear takes answers until one makes a difference, or a moment is reached.
func hear(ctx context.Context, w Wire, p protocol, m *lease.Machine, until time.Time, buf []byte) (lease.Event, error) {
	if err := w.Until(until); err != nil || ctx.Err() != nil {
		return lease.Nothing, errors.Join(err, ctx.Err())
	}
	for {
		n, unsummed, err := w.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return lease.Nothing, nil
		}
		if err != nil {
			return lease.Nothing, err
		}
		a, ok := p.answer(buf[:n], unsummed, m)
		if !ok {
			continue
		}
		was := m.State
		if event := m.Heard(a, time.Now()); event != lease.Nothing || m.State != was {
			return event, nil
		}
	}
}
