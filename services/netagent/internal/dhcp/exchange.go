// Package dhcp speaks with a LAN's servers of addresses: DHCP, DHCPv6 and routers that advertise. What is said when is package lease's;
// what it looks like on the wire is here. Sockets come from the kernel's door.
package dhcp

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// FrameConn is a socket for whole frames on the client's interface.
type FrameConn interface {
	Write(frame []byte) error
	// Read answers a frame's length, and whether its sums were never made.
	Read(buf []byte) (n int, unsummed bool, err error)
	// SetReadDeadline bounds the Reads that follow.
	SetReadDeadline(t time.Time) error
}

// protocol writes the question of a machine's state and reads what answers it; false if it does not.
type protocol interface {
	request(m *lease.Client) []byte
	answer(frame []byte, unsummed bool, m *lease.Client) (lease.Reply, bool)
}

// maxFrame is more than servers send: what is longer is cut off, and then is no message.
const maxFrame = 4096

// exchange asks and listens as the machine says, until something has happened or the limit is reached: then it is lease.Nothing.
func exchange(ctx context.Context, w FrameConn, p protocol, m *lease.Client, limit time.Time) (lease.Event, error) {
	stop := context.AfterFunc(ctx, func() { _ = w.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxFrame)
	for {
		now := time.Now()
		event, ask, wake := m.Tick(now)
		if event != lease.NoEvent || ctx.Err() != nil || !now.Before(limit) {
			return event, ctx.Err()
		}
		if ask {
			if err := w.Write(p.request(m)); err != nil {
				return lease.NoEvent, err
			}
		}
		if wake.IsZero() || wake.After(limit) {
			wake = limit
		}
		event, err := readReply(ctx, w, p, m, wake, buf)
		if event != lease.NoEvent || err != nil {
			return event, err
		}
	}
}

// readReply takes answers until one makes a difference, or a moment is reached.
func readReply(ctx context.Context, w FrameConn, p protocol, m *lease.Client, until time.Time, buf []byte) (lease.Event, error) {
	if err := w.SetReadDeadline(until); err != nil || ctx.Err() != nil {
		return lease.NoEvent, errors.Join(err, ctx.Err())
	}
	for {
		n, unsummed, err := w.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return lease.NoEvent, nil
		}
		if err != nil {
			return lease.NoEvent, err
		}
		a, ok := p.answer(buf[:n], unsummed, m)
		if !ok {
			continue
		}
		was := m.State
		if event := m.Receive(a, time.Now()); event != lease.NoEvent || m.State != was {
			return event, nil
		}
	}
}
