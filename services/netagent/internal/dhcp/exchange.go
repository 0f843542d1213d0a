// Package dhcp encodes and exchanges DHCP, DHCPv6 and router discovery messages. Package lease
// holds the state machine that decides when to send them. The sockets come from package kernel.
// Package macvlan calls it.
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
	// Read returns the length of a frame. unsummed reports that its checksums were not computed.
	Read(buf []byte) (n int, unsummed bool, err error)
	// SetReadDeadline sets the deadline of later Reads.
	SetReadDeadline(t time.Time) error
}

// protocol encodes the request for a client's state and parses replies to it. answer returns false
// for other frames.
type protocol interface {
	request(m *lease.Client) []byte
	answer(frame []byte, unsummed bool, m *lease.Client) (lease.Reply, bool)
}

// maxFrame is larger than any valid reply. Longer frames are truncated and do not parse.
const maxFrame = 4096

// exchange sends requests and reads replies as the client requires, until an event occurs. At the
// limit it returns lease.Nothing.
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

// readReply reads replies until one causes an event or the deadline passes.
func readReply(ctx context.Context, w FrameConn, p protocol, m *lease.Client, until time.Time,
	buf []byte) (lease.Event, error) {
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
