package encryption_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/netagent/internal/encryption"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
	"github.com/fairlead/fairlead/services/netagent/internal/wireguard"
)

const (
	marker   = "text that must not be on the wire"
	timeout  = 30 * time.Second
	lifetime = 3 * time.Second
)

// site is a host of a fleet with real devices. Its only container is the loopback address.
type site struct {
	*encryption.Tunnels
	id       string
	ns       *testns.NS
	underlay netip.Addr
	inside   netip.Addr
	block    netip.Prefix

	mu   sync.Mutex
	keys store.TunnelKeys
}

func (s *site) TunnelKeys() store.TunnelKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *site) PutTunnelKeys(k store.TunnelKeys) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = k
	return nil
}

// fleet is a set of hosts on one LAN.
type fleet struct {
	t     *testing.T
	lan   *testns.NS
	sites []*site
}

func newFleet(t *testing.T, count int) *fleet {
	f := &fleet{t: t, lan: testns.New(t)}
	f.lan.Run("sh", "-ec", "ip link add br0 type bridge; ip link set br0 up")
	for i := 1; i <= count; i++ {
		s := &site{id: fmt.Sprint("host", i), ns: testns.New(t),
			underlay: netip.MustParseAddr(fmt.Sprintf("10.99.0.%d", i)),
			inside:   netip.MustParseAddr(fmt.Sprintf("10.128.%d.2", i)),
			block:    netip.MustParsePrefix(fmt.Sprintf("10.128.%d.0/26", i))}
		f.lan.Run("ip", "link", "add", fmt.Sprint("port", i), "type", "veth", "peer", "name", "eth0", "netns",
			s.ns.Path())
		f.lan.Run("ip", "link", "set", fmt.Sprint("port", i), "master", "br0", "up")
		s.ns.Run("sh", "-ec", fmt.Sprintf("ip addr add %s/24 dev eth0; ip link set eth0 up; ip link set lo up; "+
			"ip addr add %s/32 dev lo", s.underlay, s.inside))
		host, err := kernel.Open(s.ns.Path())
		if err != nil {
			t.Fatal(err)
		}
		devices := wireguard.New(s.ns.Path(), host)
		if err := devices.Supported(); err != nil {
			host.Close()
			if errors.Is(err, wireguard.ErrMissing) {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		t.Cleanup(host.Close)
		s.Tunnels = encryption.New(encryption.Config{Kernel: devices, Store: s, Lifetime: lifetime,
			Log: slog.New(slog.DiscardHandler)})
		f.sites = append(f.sites, s)
	}
	return f
}

// sync makes all hosts apply what the others have published.
func (f *fleet) sync() {
	f.t.Helper()
	for _, s := range f.sites {
		if _, err := s.Sync(f.viewOf(s)); err != nil {
			f.t.Error(err)
		}
	}
}

// viewOf returns what a host knows of the others.
func (f *fleet) viewOf(s *site) encryption.View {
	v := encryption.View{Fleet: "f", Needed: true, MTU: 1440}
	for _, o := range f.sites {
		if o != s {
			v.Hosts = append(v.Hosts, encryption.Host{ID: o.id, Address: o.underlay, Keys: o.Published(),
				Blocks: []netip.Prefix{o.block}})
		}
	}
	return v
}

// exchange sends the marker over TCP and reads the response.
func (f *fleet) exchange(from, to *site, port int) error {
	var conn net.Conn
	var err error
	from.ns.Do(func() {
		d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: from.inside.AsSlice()}}
		conn, err = d.Dial("tcp", netip.AddrPortFrom(to.inside, uint16(port)).String())
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write([]byte(marker)); err != nil {
		return err
	}
	got := make([]byte, len(marker))
	if _, err = io.ReadFull(conn, got); err == nil && string(got) != marker {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// echo serves connections to the container of a host.
func (f *fleet) echo(s *site) (port int) {
	l := s.ns.Listen("tcp", netip.AddrPortFrom(s.inside, 0).String())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// wire counts the packets on the LAN, and those in clear text.
type wire struct {
	clear, encrypted atomic.Int64
	fd               int
	done             chan struct{}
}

// capture receives all packets on the LAN.
func (f *fleet) capture() *wire {
	w := &wire{done: make(chan struct{})}
	var err error
	f.lan.Do(func() {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	})
	if err != nil {
		f.t.Fatal(err)
	}
	_ = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	_ = unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	stop := make(chan struct{})
	go func() {
		defer close(w.done)
		for b := make([]byte, 1<<16); ; {
			n, _, err := unix.Recvfrom(w.fd, b, 0)
			if err != nil {
				select {
				case <-stop:
					return
				default:
					continue
				}
			}
			w.count(b[:n])
		}
	}()
	f.t.Cleanup(func() {
		close(stop)
		<-w.done
		_ = unix.Close(w.fd)
	})
	return w
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// count looks for the marker, for addresses of containers, and for packets of WireGuard.
func (w *wire) count(frame []byte) {
	const header = 14 + 20 + 8 // Ethernet, IPv4, UDP
	if len(frame) < header || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
		return
	}
	if bytes.Contains(frame, []byte(marker)) || frame[26] == 10 && frame[27] == 128 {
		w.clear.Add(1)
	}
	if to := binary.BigEndian.Uint16(frame[36:]); frame[23] == unix.IPPROTO_UDP &&
		(to == encryption.DefaultPort || to == encryption.DefaultPort+1) {
		w.encrypted.Add(1)
	}
}

// flow is a datagram with the marker every ten milliseconds.
type flow struct {
	from, to *site
	conn     *net.UDPConn
	end      chan struct{}
	sender   sync.WaitGroup
	receiver sync.WaitGroup
	sent     []time.Time // of the sender
	failed   []error
	received map[uint32]bool // of the receiver
	count    atomic.Int64

	stopReading func()
}

func (f *fleet) flow(from, to *site) *flow {
	w := &flow{from: from, to: to, end: make(chan struct{}), received: map[uint32]bool{}}
	at := to.ns.ListenPacket("udp4", netip.AddrPortFrom(to.inside, 0).String())
	_ = at.(*net.UDPConn).SetReadBuffer(8 << 20)
	var err error
	from.ns.Do(func() {
		w.conn, err = net.DialUDP("udp", &net.UDPAddr{IP: from.inside.AsSlice()}, at.LocalAddr().(*net.UDPAddr))
	})
	if err != nil {
		f.t.Fatal(err)
	}
	w.receiver.Go(func() {
		for b := make([]byte, 64); ; w.count.Add(1) {
			n, _, err := at.ReadFrom(b)
			if err != nil || n < 4 {
				return
			}
			w.received[binary.BigEndian.Uint32(b)] = true
		}
	})
	w.sender.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.end:
				return
			case <-tick.C:
				number := binary.BigEndian.AppendUint32(nil, uint32(len(w.sent)))
				w.sent = append(w.sent, time.Now())
				if _, err := w.conn.Write(append(number, marker...)); err != nil {
					w.failed = append(w.failed, err)
				}
			}
		}
	})
	f.t.Cleanup(func() { _ = w.conn.Close() })
	w.stopReading = func() { _ = at.Close() }
	return w
}

// stop ends the flow and returns when the lost datagrams were sent.
func (w *flow) stop() (lost []time.Time) {
	close(w.end)
	w.sender.Wait()
	for late := time.Now().Add(timeout / 3); w.count.Load() < int64(len(w.sent)) && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	w.stopReading()
	w.receiver.Wait()
	for i, at := range w.sent {
		if !w.received[uint32(i)] {
			lost = append(lost, at)
		}
	}
	return lost
}
