package egress_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/servername/tlshello"
)

// BenchmarkServerNames compares connections without a policy, with rules that do not check names, with those
// that do, and through a proxy on the host that splices: the time until the first answer, and of 64 MiB.
func BenchmarkServerNames(b *testing.B) {
	w := newWorld(b)
	data := hello(b, "a.test")
	for _, way := range []struct {
		name  string
		begin func()
	}{
		{"none", func() {}},
		{"any-name", func() { w.allow("a.test/any-name") }},
		{"checked", func() { w.allow("a.test") }},
		{"proxy", func() {
			if err := w.enforcer.Release(context.Background(), owner); err != nil {
				b.Fatal(err)
			}
			w.proxy()
		}},
	} {
		way.begin()
		b.Run("connect/"+way.name, func(b *testing.B) {
			for b.Loop() {
				if got := w.exchange(w.a, web4+":443", data); got != "" {
					b.Fatal(got)
				}
			}
		})
		b.Run("transfer/"+way.name, func(b *testing.B) {
			b.SetBytes(64 << 20)
			for b.Loop() {
				w.transfer(data)
			}
		})
	}
}

// allow sets the rules, and resolves the name.
func (w *world) allow(rule string) {
	w.t.Helper()
	w.put(rule)
	if _, err := w.enforcer.Learn(context.Background(), owner, answer("a.test",
		[]netip.Addr{netip.MustParseAddr(web4)}, time.Hour)); err != nil {
		w.t.Fatal(err)
	}
}

// transfer uploads 64 MiB after a handshake, and waits until the server has them.
func (w *world) transfer(hello []byte) {
	w.t.Helper()
	c, err := w.a.Dial("tcp", web4+":443", time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(hello); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, bytes.Clone(hello)); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		block := make([]byte, 64<<10)
		for range 1024 {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, c, 64<<20); err != nil {
		w.t.Fatal(err)
	}
}

// proxy redirects connections to port 443 to a proxy on the host, as another design would.
func (w *world) proxy() {
	w.t.Helper()
	var l net.Listener
	var err error
	w.host.Do(func() { l, err = net.Listen("tcp4", ":15443") })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	w.host.Run("nft", "add table ip proxy; add chain ip proxy pre { type nat hook prerouting priority dstnat; }; "+
		"add rule ip proxy pre iifname br0 tcp dport 443 redirect to :15443")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.relay(c.(*net.TCPConn))
		}
	}()
}

// relay reads the name and connects both ends.
func (w *world) relay(c *net.TCPConn) {
	defer c.Close()
	var reader tlshello.Reader
	buffer := make([]byte, 64<<10)
	n := 0
	for reader.Hellos() == 0 {
		more, err := c.Read(buffer[n:])
		if err != nil {
			return
		}
		if _, err := reader.Feed(buffer[n : n+more]); err != nil || reader.Hellos() > 0 &&
			reader.Take()[0] != "a.test" {
			return
		}
		n += more
	}

	to, err := originalTarget(c)
	if err != nil {
		return
	}
	server, err := w.host.Dial("tcp", to.String(), time.Minute)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := server.Write(buffer[:n]); err != nil {
		return
	}
	go func() { _, _ = io.Copy(server, c); _ = server.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(c, server)
}

// originalTarget returns the destination before the redirection.
func originalTarget(c syscall.Conn) (to netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return to, err
	}
	const originalDst = 80
	controlErr := raw.Control(func(fd uintptr) {
		var info *unix.IPv6Mreq // as large as a socket address of IPv4
		if info, err = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, originalDst); err == nil {
			data := info.Multiaddr
			to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(data[4:8])), binary.BigEndian.Uint16(data[2:]))
		}
	})
	if controlErr != nil {
		return to, controlErr
	}
	return to, err
}
