package egress_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/quic"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// endpoint returns a QUIC endpoint in a namespace.
func (w *world) quicEndpoint(n *testns.NS, address string, config *quic.Config) *quic.Endpoint {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	n.Do(func() { conn, err = net.ListenPacket("udp", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := quic.NewEndpoint(conn, config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, stop := context.WithCancel(context.Background())
		stop() // it does not wait for the other end
		_ = e.Close(ctx)
	})
	return e
}

// serveQUIC echoes the streams of all connections.
func (w *world) serveQUIC(n *testns.NS, address string) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	e := w.quicEndpoint(n, address, &quic.Config{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}})
	go func() {
		for {
			c, err := e.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() {
						_, _ = io.Copy(s, s)
						_ = s.Close()
					}()
				}
			}()
		}
	}()
}

// ask echoes data on a new stream.
func (w *world) ask(c *quic.Conn, size int) error { return w.askFor(c, size, time.Minute) }

func (w *world) askFor(c *quic.Conn, size int, wait time.Duration) error {
	ctx, stop := context.WithTimeout(context.Background(), wait)
	defer stop()
	s, err := c.NewStream(ctx)
	if err != nil {
		return err
	}
	s.SetReadContext(ctx)
	s.SetWriteContext(ctx)
	data := bytes.Repeat([]byte("x"), size)
	go func() {
		_, _ = s.Write(data)
		s.CloseWrite()
	}()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, data) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TestQUIC connects to a server by allowed names and by a neighbour.
func TestQUIC(t *testing.T) {
	w := newWorld(t)
	w.serveQUIC(w.web, ":443")
	// As on a host with NAT, servers begin no connections: the answers of the container would pass.
	w.host.Run("nft", "add table inet guard; add chain inet guard forward { type filter hook forward priority 0; }; "+
		"add rule inet guard forward iifname out meta l4proto udp ct state new drop")
	learn := func() {
		t.Helper()
		if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test",
			[]netip.Addr{netip.MustParseAddr(web4),
				netip.MustParseAddr(web6)}, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	client := w.quicEndpoint(w.a, ":0", nil)
	dial := func(to, name string, wait time.Duration) (*quic.Conn, error) {
		ctx, stop := context.WithTimeout(context.Background(), wait)
		defer stop()
		return client.Dial(ctx, "udp", to, &quic.Config{TLSConfig: &tls.Config{ServerName: name,
			MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}})
	}
	must := func(c *quic.Conn, err error) *quic.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	if err := w.ask(must(dial(web4+":443", "b.test", time.Minute)), 10); err != nil {
		t.Errorf("without a policy: %v", err)
	}
	w.put("a.test/quic")
	learn()
	tries := map[string]int{} // by record
	for _, to := range []string{web4 + ":443", "[" + web6 + "]:443"} {
		c := must(dial(to, "a.test", time.Minute))
		if err := w.ask(c, 200_000); err != nil {
			t.Errorf("%s: allowed name: %v", to, err)
		}
		address := netip.MustParseAddrPort(to).Addr()
		want := "box server udp " + address.String() + " 443 b.test"
		for end := time.Now().Add(time.Minute); !strings.Contains(w.refusals(0), want); tries[want]++ {
			if time.Now().After(end) {
				t.Fatalf("%s: no record:\n%s", to, w.refusals(0))
			}
			if c, err := dial(to, "b.test", silenceTime); err == nil { // on the same sockets
				c.Abort(nil)
				t.Fatalf("%s: a neighbour answers", to)
			}
		}
		if err := w.ask(c, 10); err != nil {
			t.Errorf("%s: after the refusal of a neighbour: %v", to, err)
		}
	}
	for want, n := range tries {
		if text := w.refusals(0); strings.Count(text, want) > n {
			t.Errorf("%d refusals of %q have more records:\n%s", n, want, text)
		}
	}

	c := must(dial(web4+":443", "a.test", time.Minute))
	if err := w.ask(c, 10); err != nil { // so that the handshake has ended
		t.Fatal(err)
	}
	w.stop()
	if err := w.ask(c, 100_000); err != nil {
		t.Errorf("without natagent: %v", err)
	}
	if c, err := dial(web4+":443", "a.test", silenceTime); err == nil {
		c.Abort(nil)
		t.Error("a connection began without natagent")
	}
	w.start()
	if err := w.ask(must(dial(web4+":443", "a.test", time.Minute)), 10); err != nil {
		t.Errorf("after a restart: %v", err)
	}

	w.put("a.test:443/udp") // which opens everything on the address
	learn()
	c = must(dial(web4+":443", "b.test", time.Minute))
	if err := w.ask(c, 10); err != nil {
		t.Error(err)
	}
	w.put("a.test/quic")
	if err := w.askFor(c, 10, silenceTime); err == nil {
		t.Error("a connection that was not checked continues")
	}
	w.put("a.test")
	if c, err := dial(web4+":443", "a.test", silenceTime); err == nil {
		c.Abort(nil)
		t.Error("QUIC passes without a rule")
	}
}

// firstDatagrams returns the first datagrams of a client that asks for a name.
func (w *world) firstDatagrams(name string) (all [][]byte) {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	w.b.Do(func() { conn, err = net.ListenPacket("udp", "10.9.0.3:0") })
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client := w.quicEndpoint(w.b, "10.9.0.3:0", nil)
	go func() {
		_, _ = client.Dial(ctx, "udp", conn.LocalAddr().String(), &quic.Config{TLSConfig: &tls.Config{ServerName: name,
			MinVersion: tls.VersionTLS13}})
	}()
	_ = conn.SetReadDeadline(time.Now().Add(answerTime))
	for range 2 { // as the message is longer than one
		buffer := make([]byte, 4096)
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, buffer[:n])
	}
	return all
}

// TestQUICDatagrams sends datagrams of handshakes to a server that echoes them.
func TestQUICDatagrams(t *testing.T) {
	w := newWorld(t)
	w.echo(w.web, "udp4", ":443")
	good, bad := w.firstDatagrams("a.test"), w.firstDatagrams("b.test")
	w.put("a.test/quic")
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test",
		[]netip.Addr{netip.MustParseAddr(web4)}, time.Hour)); err != nil {
		t.Fatal(err)
	}
	open := func() *net.UDPConn {
		t.Helper()
		c, err := w.a.Dial("udp", web4+":443", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(*net.UDPConn)
	}
	// answers returns the number of datagrams that come back, and ends after want or a moment without one
	answers := func(c net.Conn, want int) (n int) {
		wait := silenceTime
		if want > 0 {
			wait = answerTime
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		for {
			if n == want {
				_ = c.SetReadDeadline(time.Now().Add(silenceTime))
			}
			switch _, err := c.Read(make([]byte, 4096)); {
			case err == nil:
				n++
			case errors.Is(err, os.ErrDeadlineExceeded): // others report refusals
				return n
			}
		}
	}
	send := func(c net.Conn, all ...[]byte) {
		for _, d := range all {
			_, _ = c.Write(d)
		}
	}
	short := append([]byte{0x40}, make([]byte, 1249)...)
	for _, k := range []struct {
		what string
		data [][]byte
		want int
	}{
		{"handshake", good, 2},
		{"handshake in another order", [][]byte{good[1], good[0]}, 2},
		{"data first", [][]byte{short}, 0},
		{"data after the handshake", [][]byte{good[0], good[1], short}, 3},
		{"a part", good[:1], 0},
		{"another part", bad[1:], 0},
		{"parts of two handshakes", [][]byte{good[0], bad[1]}, 0},
		{"a neighbour after the handshake", [][]byte{good[0], good[1], bad[0], bad[1]}, 2},
		{"not QUIC", [][]byte{append([]byte{0xff}, make([]byte, 1249)...)}, 0},
	} {
		c := open()
		send(c, k.data...)
		if got := answers(c, k.want); got != k.want {
			t.Errorf("%s: %d of %d datagrams passed, want %d", k.what, got, len(k.data), k.want)
		}
	}

	// datagrams that the kernel splits after the firewall has seen them
	c := open()
	send(c, good...)
	if got := answers(c, 2); got != 2 {
		t.Fatalf("handshake: %d datagrams passed", got)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, unix.UDP_SEGMENT, len(bad[0]))
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	send(c, bytes.Join([][]byte{short[:len(bad[0])], bad[0], bad[1]}, nil))
	if got := answers(c, 1); got != 1 {
		t.Errorf("%d of 3 joined datagrams passed, want the first one", got)
	}
}
