package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// Measurements of limits. What is in queues and buckets at the start passes before the window.
const (
	limitsPort   = "5010"
	limitsWarmUp = time.Second
	limitsWindow = 4 * time.Second
	limitPackets = 5000
	limitOpen    = 20
)

// flow is traffic between a container and the lab's client.
type flow struct {
	protocol string
	in       bool // to the container
	size     int  // of a datagram
}

// frameSize is the size of a full frame with its Ethernet header.
const frameSize = 1514

// onWire returns the factor from payload of full packets to their frames.
func (f flow) onWire() float64 {
	if f.protocol == "tcp" {
		return frameSize / 1448.0
	}
	return frameSize / 1472.0
}

func (f flow) String() string {
	if f.in {
		return f.protocol + " in"
	}
	return f.protocol + " out"
}

// limits measures how exactly limits of a network are enforced. They change while the container runs.
func (b *bench) limits(ctx context.Context, t *table) error {
	if _, err := b.agent.CLI(ctx, "network", "create", "limits"); err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, "run", "-d", "--name", "limited", "--network", "limits", "busybox", "sleep",
		"1000"); err != nil {
		return err
	}
	m, err := b.inside(ctx, "limited")
	if err != nil {
		return err
	}

	update := func(args ...string) error {
		_, err := b.agent.CLI(ctx, append(append([]string{"network", "update"}, args...), "limits")...)
		return err
	}
	err = errors.Join(b.limitRates(m, t, update), b.limitPackets(m, t, update), b.limitConnections(m, t, update))
	_, rerr := b.agent.CLI(ctx, "rm", "-f", "limited")
	_, nerr := b.agent.CLI(ctx, "network", "rm", "limits")
	return errors.Join(err, rerr, nerr)
}

func (b *bench) limitRates(m *lab.Machine, t *table, update func(...string) error) error {
	for _, mbit := range []float64{1, 10, 100} {
		if err := update("--bandwidth", fmt.Sprintf("%.0fmbit", mbit)); err != nil {
			return err
		}
		for _, f := range []flow{{"tcp", true, 0}, {"tcp", false, 0}, {"udp", true, 1472}, {"udp", false, 1472}} {
			_, rate, err := b.run(f, m, 1.5*mbit*1e6/8/frameSize)
			if err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			got := rate * f.onWire() * 8 / 1e6
			t.add(row{what: fmt.Sprintf("--bandwidth %.0fmbit, %s", mbit, f), text: fmt.Sprintf("%.3f mbit", got),
				against: fmt.Sprintf("%.3f of the limit", got/mbit), wanted: "0.95 to 1.05"})
		}
	}
	return update("--bandwidth", "none")
}

func (b *bench) limitPackets(m *lab.Machine, t *table, update func(...string) error) error {
	if err := update("--packets", fmt.Sprint(limitPackets)); err != nil {
		return err
	}
	for _, f := range []flow{{"udp", true, 10}, {"udp", false, 10}} {
		rate, _, err := b.run(f, m, 1.5*limitPackets)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		t.add(row{what: fmt.Sprintf("--packets %d, %s", limitPackets, f), text: fmt.Sprintf("%.0f/s", rate),
			against: fmt.Sprintf("%.3f of the limit", rate/limitPackets), wanted: "0.95 to 1.05"})
	}
	return update("--packets", "none")
}

// limitConnections counts the connections that can be open at the same time.
func (b *bench) limitConnections(m *lab.Machine, t *table, update func(...string) error) error {
	if err := update("--max-connections", fmt.Sprint(limitOpen)); err != nil {
		return err
	}
	target := net.JoinHostPort(lab.ClientIPv4, limitsPort)
	l, err := b.lab.Client.Listen("tcp", target)
	if err != nil {
		return err
	}
	defer l.Close()
	n := 0
	for range limitOpen + 5 {
		if c, err := m.Dial("tcp", target, 10*time.Second); err == nil {
			defer c.Close()
			n++
		}
	}
	t.add(row{what: fmt.Sprintf("--max-connections %d, %d opened", limitOpen, limitOpen+5), text: fmt.Sprint(n),
		wanted: fmt.Sprint(limitOpen)})
	return nil
}

// run returns the packets and bytes of payload that pass in a second. The container opens the flow. Datagrams are
// sent at a pace, which must be above the limit.
func (b *bench) run(f flow, m *lab.Machine, pace float64) (packets, bytes float64, err error) {
	inside, outside, err := b.open(f, m)
	if err != nil {
		return 0, 0, err
	}
	defer inside.Close()
	defer outside.Close()
	from, to := inside, outside
	if f.in {
		from, to = outside, inside
	}

	sent := make(chan error, 1)
	go func() { sent <- f.send(from, pace) }()
	packets, bytes, err = receive(to)
	_, _ = inside.Close(), outside.Close() // ends the sender
	<-sent
	return packets, bytes, err
}

// open connects a container to the lab's client and returns both ends.
func (b *bench) open(f flow, m *lab.Machine) (inside, outside net.Conn, err error) {
	target := net.JoinHostPort(lab.ClientIPv4, limitsPort)
	if f.protocol == "tcp" {
		l, err := b.lab.Client.Listen("tcp", target)
		if err != nil {
			return nil, nil, err
		}
		defer l.Close()
		if inside, err = m.Dial("tcp", target, 10*time.Second); err != nil {
			return nil, nil, err
		}
		outside, err = l.Accept()
		return inside, outside, err
	}

	p, err := b.lab.Client.ListenPacket("udp", target)
	if err != nil {
		return nil, nil, err
	}
	if inside, err = m.Dial("udp", target, 10*time.Second); err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	if _, err := inside.Write([]byte("x")); err != nil {
		return nil, nil, err
	}
	_, peer, err := p.ReadFrom(make([]byte, frameSize))
	return inside, &datagrams{PacketConn: p, peer: peer}, err
}

// datagrams is a socket with one peer.
type datagrams struct {
	net.PacketConn
	peer net.Addr
}

// Read implements net.Conn.
func (d *datagrams) Read(b []byte) (int, error) {
	n, _, err := d.ReadFrom(b)
	return n, err
}

// Write implements net.Conn.
func (d *datagrams) Write(b []byte) (int, error) { return d.WriteTo(b, d.peer) }

// RemoteAddr implements net.Conn.
func (d *datagrams) RemoteAddr() net.Addr { return d.peer }

// send writes until the socket is closed: a stream without pauses, datagrams at a pace.
func (f flow) send(to io.Writer, pace float64) error {
	if f.protocol == "tcp" {
		_, err := io.Copy(to, zeros{})
		return err
	}
	data, sent := make([]byte, f.size), 0.0
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		for due := time.Since(began).Seconds() * pace; sent < due; sent++ {
			if _, err := to.Write(data); err != nil && !strings.Contains(err.Error(), "no buffer space") {
				return err
			}
		}
	}
}

// zeros is an endless stream.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// receive returns the reads and bytes of a second. Those of a stream are counted by the kernel, as this process can
// read late what has come before the window.
func receive(from net.Conn) (reads, bytes float64, err error) {
	began := time.Now()
	if err := from.SetReadDeadline(began.Add(limitsWarmUp + 2*limitsWindow)); err != nil {
		return 0, 0, err
	}
	var first, last time.Time
	before, after := uint64(0), uint64(0)
	buf := make([]byte, 64<<10)
	for time.Since(began) < limitsWarmUp+limitsWindow {
		n, err := from.Read(buf)
		if err != nil {
			return 0, 0, err
		}
		switch now := time.Now(); {
		case now.Sub(began) < limitsWarmUp:
			continue
		case first.IsZero():
			first, before = now, received(from)
		default:
			last, after, reads, bytes = now, received(from), reads+1, bytes+float64(n)
		}
	}
	seconds := last.Sub(first).Seconds()
	if after > before {
		bytes = float64(after - before)
	}
	return reads / seconds, bytes / seconds, nil
}

// received returns the bytes that the kernel has received on a stream; 0 for datagrams.
func received(from net.Conn) (n uint64) {
	c, ok := from.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_received
		}
	})
	return n
}
