package pathprobe

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
)

// tunnelPort is the UDP port of the tunnel.
const tunnelPort = 4789

// Limits of the work.
const (
	maxRound    = 128                   // ways of one round
	roundEvery  = 50 * time.Millisecond // at least
	reopenEvery = 10 * time.Second      // after a failure
	maxReplies  = 60                    // to one host within a second
)

// conn sends and receives packets of a host.
type conn interface {
	Send(to netip.AddrPort, payload []byte) error
	// Receive returns the next packet that can be a probe, and the port that it was sent to.
	Receive() (from netip.Addr, port uint16, payload []byte, err error)
	Close() error
}

// Prober probes the ways to other hosts. It is safe for concurrent use.
type Prober struct {
	log  *slog.Logger
	open func(local netip.Addr) (conn, error)

	mu      sync.Mutex
	local   netip.Addr      // invalid: no fleet
	ports   []uint16        // of the tunnels of this host
	peers   map[string]Peer // by address
	paths   *paths
	replies map[string]window // by address
	wake    notify.Signal
	changed notify.Signal
}

// New returns a prober. It does nothing before Run and Set.
func New(log *slog.Logger) *Prober { return newProber(log, openRaw) }

func newProber(log *slog.Logger, open func(netip.Addr) (conn, error)) *Prober {
	return &Prober{log: log, open: open, changed: notify.NewSignal(), wake: notify.NewSignal(),
		paths: newPaths(rand.Uint64() >> 1), replies: map[string]window{}}
}

// Set sets the address and the ports of this host, the size of full packets, and the other hosts that are alive. An
// invalid address ends all probes.
func (p *Prober) Set(local netip.Addr, ports []uint16, mtu int, peers []Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.local, p.ports, p.peers = local, Peer{Ports: ports}.ports(), map[string]Peer{}
	for _, peer := range peers {
		p.peers[peer.Address] = peer
	}
	before, decided := p.paths.problems()
	p.paths.set(mtu, peers)
	p.wake.Notify()
	if after, now := p.paths.problems(); now != decided || !sameProblems(before, after) {
		p.changed.Notify()
	}
}

// Changed is notified when Problems returns something else.
func (p *Prober) Changed() notify.Signal { return p.changed }

// Problems returns the hosts that packets do not reach, and how many hosts are decided.
func (p *Prober) Problems() ([]Problem, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths.problems()
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	for ctx.Err() == nil {
		local := p.address()
		if !local.IsValid() {
			select {
			case <-ctx.Done():
			case <-p.wake:
			}
			continue
		}
		if err := p.serve(ctx, local); err != nil && ctx.Err() == nil {
			p.log.Debug("data path to other hosts is not checked, retrying", "address", local, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(reopenEvery):
			}
		}
	}
}

func (p *Prober) address() netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.local
}

// serve probes from one address until it changes.
func (p *Prober) serve(ctx context.Context, local netip.Addr) error {
	c, err := p.open(local)
	if err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- p.receive(c) }()
	defer func() {
		_ = c.Close()
		<-received
	}()

	for ctx.Err() == nil && p.address() == local {
		wait := p.round(c, local)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case err := <-received:
			received <- err
			return err
		case <-time.After(wait):
		}
	}
	return nil
}

// round sends the probes that are due, and returns the time until the next ones.
func (p *Prober) round(c conn, local netip.Addr) time.Duration {
	p.mu.Lock()
	now := time.Now()
	out, changed := p.paths.due(now, maxRound)
	wait := p.paths.times.slow
	for _, w := range p.paths.all {
		wait = min(wait, max(roundEvery, w.next.Sub(now)))
	}
	p.mu.Unlock()
	if changed {
		p.changed.Notify()
	}
	for _, s := range out {
		to, err := netip.ParseAddr(s.address)
		if err != nil {
			continue
		}
		// A packet that cannot be sent is a lost one.
		_ = c.Send(netip.AddrPortFrom(to, s.port), packet{request, s.number, payload(s.mtu, local)}.encode())
	}
	return wait
}

// receive replies to probes and notes replies until the connection is closed.
func (p *Prober) receive(c conn) error {
	for {
		from, port, b, err := c.Receive()
		if err != nil {
			return err
		}
		got, ok := decode(b)
		if !ok {
			continue
		}
		switch got.kind {
		case request:
			if back, may := p.mayReply(from.String(), port); may {
				_ = c.Send(netip.AddrPortFrom(from, back), packet{reply, got.number, got.size}.encode())
			}
		case reply:
			p.replied(from.String(), got.number)
		}
	}
}

func (p *Prober) replied(from string, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paths.replied(from, number, time.Now()) {
		p.changed.Notify()
	}
}

// mayReply reports whether a host gets a reply to a packet to a port, and to which port: it is one of the fleet, and
// has not asked too often.
func (p *Prober) mayReply(from string, port uint16) (back uint16, may bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	peer, known := p.peers[from]
	slot := slices.Index(p.ports, port)
	if !known || slot < 0 {
		return 0, false
	}
	back = port // it has the same, unless its own are known
	if its := peer.ports(); slot < len(its) {
		back = its[slot]
	}
	if len(p.replies) > 2*len(p.paths.all)+maxRound {
		clear(p.replies) // of hosts that have left
	}
	w := p.replies[from]
	if now.Sub(w.began) > time.Second {
		w = window{began: now}
	}
	w.count++
	p.replies[from] = w
	return back, w.count <= maxReplies
}

// window counts the replies to a host within a second.
type window struct {
	began time.Time
	count int
}

// rawConn sends from a UDP socket and receives from a raw one.
type rawConn struct {
	send *net.UDPConn
	recv *net.IPConn
	buf  []byte
}

// Send sends a packet that is not divided.
func (c *rawConn) Send(to netip.AddrPort, payload []byte) error {
	_, err := c.send.WriteToUDPAddrPort(payload, to)
	return err
}

// udpHeader is the length of a UDP header.
const udpHeader = 8

// Receive returns port and payload of the next packet.
func (c *rawConn) Receive() (netip.Addr, uint16, []byte, error) {
	for {
		n, from, err := c.recv.ReadFromIP(c.buf)
		if err != nil {
			return netip.Addr{}, 0, nil, err
		}
		a, ok := netip.AddrFromSlice(from.IP)
		if ok && n > udpHeader {
			return a.Unmap(), binary.BigEndian.Uint16(c.buf[2:]), slices.Clone(c.buf[udpHeader:n]), nil
		}
	}
}

// Close closes both sockets.
func (c *rawConn) Close() error {
	err := c.send.Close()
	if e := c.recv.Close(); err == nil {
		err = e
	}
	return err
}
