package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

const (
	// routerPause is between questions for a router, routerTries how many there are. Routers wait up to half a second (RFC 4861, 6.2.6).
	routerPause = 600 * time.Millisecond
	routerTries = 3
	leastMTU6   = 1280
	// routerAgain is how soon who has an address but has heard of no router looks for one again.
	routerAgain = time.Minute
	// mostRenew bounds how long a router that hands out addresses is not asked whether it is still so.
	mostRenew = 30 * time.Minute
)

// Router asks the LAN for a router; nil if there is none.
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

// withRouter fills in what a router tells of an address's use.
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

// SLAACTerms are the terms of the address that a client may give itself: in the first prefix that the router offers for that. False if
// it offers none, or says that addresses are to be had by DHCPv6.
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
		t = t.For(time.Now(), seconds(p.Valid), seconds(p.Preferred)/2, 0)
		if most := t.Granted.Add(mostRenew); t.Renew.IsZero() || t.Renew.After(most) {
			t.Renew = most
		}
		return t, true
	}
	return lease.Terms{}, false
}

// RunSLAAC asks the router whether the address that the client has given itself is still one, or for a prefix to give itself one.
func RunSLAAC(ctx context.Context, w FrameConn, who lease.Identity, linkLocal netip.Addr, m *lease.Client, limit time.Time) (lease.Event, error) {
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
