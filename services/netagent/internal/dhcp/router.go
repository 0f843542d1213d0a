package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/bootclock"
	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

const (
	// routerPause is the time between router solicitations, routerTries their number. Routers delay
	// their response by up to half a second (RFC 4861, 6.2.6).
	routerPause = 600 * time.Millisecond
	routerTries = 3
	leastMTU6   = 1280
	// routerAgain is the interval of new solicitations for a client with an address and without a
	// router.
	routerAgain = time.Minute
	// mostRenew bounds the time between two checks of an advertised prefix.
	mostRenew = 30 * time.Minute
)

// Router solicits a router advertisement; nil without a response.
func Router(ctx context.Context, w FrameConn, who lease.Identity, linkLocal netip.Addr) (*frame.Router, error) {
	stop := context.AfterFunc(ctx, func() { _ = w.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxFrame)
	for range routerTries {
		if err := w.Write(frame.SolicitRouter(who.MAC, linkLocal)); err != nil {
			return nil, err
		}
		if err := errors.Join(w.SetReadDeadline(time.Now().Add(routerPause)), ctx.Err()); err != nil {
			return nil, err
		}
		for {
			n, _, err := w.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			if r, ok := frame.ReadRouter(buf[:n]); ok {
				return &r, nil
			}
		}
	}

	return nil, ctx.Err()
}

// withRouter adds the contents of a router advertisement to the terms of a lease.
func withRouter(r *frame.Router, t lease.Terms) lease.Terms {
	if r == nil {
		return t
	}

	if t.Router = (netip.Addr{}); r.Lifetime > 0 {
		t.Router = r.Addr
	}

	if r.MTU >= leastMTU6 {
		t.MTU = r.MTU
	}

	for _, p := range r.Prefixes {
		if p.OnLink && p.Prefix.Contains(t.Address.Addr()) {
			t.Address = netip.PrefixFrom(t.Address.Addr(), p.Prefix.Bits())
		}
	}

	if len(t.Servers) == 0 {
		t.Servers = r.Servers
	}

	if len(t.Search) == 0 {
		t.Search = lease.FilterSearch(r.Search)
	}

	return t
}

// SLAACTerms returns the terms of the client's EUI-64 address. The prefix is the first autonomous
// one that the router advertises. ok is false without such a prefix, or if the advertisement refers
// to DHCPv6.
func SLAACTerms(r *frame.Router, linkLocal netip.Addr) (lease.Terms, bool) {
	if r == nil || r.Managed {
		return lease.Terms{}, false
	}

	for _, p := range r.Prefixes {
		addr, ok := lease.EUI64Addr(p.Prefix, linkLocal)
		if !p.Autonomous || p.Valid < time.Second || p.Preferred == 0 || !ok {
			continue
		}
		t := withRouter(r, lease.Terms{Protocol: lease.BySLAAC, Address: addr})
		t = t.For(time.Now(), seconds(p.Valid), seconds(p.Preferred)/2, 0).StampedAt(bootclock.Now())
		if most := t.Granted.Add(mostRenew); t.Renew.IsZero() || t.Renew.After(most) {
			t.Renew = most
		}
		return t, true
	}

	return lease.Terms{}, false
}

// RunSLAAC solicits a router and renews or acquires the client's EUI-64 address.
func RunSLAAC(ctx context.Context, w FrameConn, who lease.Identity, linkLocal netip.Addr, m *lease.Client,
	limit time.Time) (lease.Event, error) {
	return exchange(ctx, w, slaacExchange{who, linkLocal}, m, limit)
}

type slaacExchange struct {
	who  lease.Identity
	from netip.Addr
}

func (s slaacExchange) request(*lease.Client) []byte { return frame.SolicitRouter(s.who.MAC, s.from) }

func (s slaacExchange) answer(data []byte, _ bool, _ *lease.Client) (lease.Reply, bool) {
	r, ok := frame.ReadRouter(data)
	if !ok {
		return lease.Reply{}, false
	}
	t, ok := SLAACTerms(&r, s.from)
	return lease.Reply{Kind: lease.Ack, Terms: t}, ok
}
