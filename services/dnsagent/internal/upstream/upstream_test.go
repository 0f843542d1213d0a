package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/upstream"
)

func TestHostServersFollowFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "resolv.conf")
	h := upstream.WatchFile(path)
	expect := func(when, want string) {
		t.Helper()
		if got := fmt.Sprint(h.Servers()); got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
	}

	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	expect("no file", "[]")
	put("resolv.conf", "nameserver 127.0.0.53\n")
	expect("systemd-resolved", "[127.0.0.53:53]")
	put("resolv.conf", "nameserver 10.0.0.1\nnameserver fe80::1%eth0\n")
	expect("written in place", "[10.0.0.1:53 [fe80::1%eth0]:53]")
	put("vpn", "nameserver 10.8.0.1\n")
	if err := os.Rename(filepath.Join(dir, "vpn"), path); err != nil {
		t.Fatal(err)
	}

	expect("replaced", "[10.8.0.1:53]")
	put("run", "nameserver 10.9.0.1\n")
	if err := errors.Join(os.Remove(path), os.Symlink("run", path)); err != nil {
		t.Fatal(err)
	}

	expect("replaced by a link", "[10.9.0.1:53]")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}

	expect("removed", "[]")
}

// socketServer passes sockets of a namespace, as netagent does.
func socketServer(t *testing.T, ns *testns.NS) string {
	path := filepath.Join(t.TempDir(), "fd.sock")
	l, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- fdpass.Serve(ctx, l, func(_ context.Context, r fdpass.Request) ([]int, error) {
			return open(ns, r.Kind)
		})
	}()

	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	return path
}

func open(ns *testns.NS, what string) (fds []int, err error) {
	kinds := map[string][2]int{"udp4": {unix.AF_INET, unix.SOCK_DGRAM}, "tcp4": {unix.AF_INET, unix.SOCK_STREAM},
		"udp6": {unix.AF_INET6, unix.SOCK_DGRAM}, "tcp6": {unix.AF_INET6, unix.SOCK_STREAM}}
	kind, ok := kinds[what]
	if !ok {
		return nil, fault.NotFoundf("sandbox", "not found")
	}
	ns.Do(func() {
		var fd int
		fd, err = unix.Socket(kind[0], kind[1]|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		fds = []int{fd}
	})
	return fds, err
}

func TestDialContainerUsesItsNetwork(t *testing.T) {
	ns := testns.New(t)
	dial := upstream.DialContainer(socketServer(t, ns), "owner")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()

	for _, host := range []string{"127.0.0.1", "::1"} {
		l := ns.Listen("tcp", net.JoinHostPort(host, "0"))
		go func() {
			if conn, err := l.Accept(); err == nil {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}
		}()
		p := ns.ListenPacket("udp", net.JoinHostPort(host, "0"))
		go func() {
			buf := make([]byte, 64)
			if n, from, err := p.ReadFrom(buf); err == nil {
				_, _ = p.WriteTo(buf[:n], from)
			}
		}()
		servers := map[string]netip.AddrPort{
			"tcp": l.Addr().(*net.TCPAddr).AddrPort(), "udp": p.LocalAddr().(*net.UDPAddr).AddrPort(),
		}
		for network, at := range servers {
			conn, err := dial(ctx, network, at)
			if err != nil {
				t.Errorf("%s %s: %v", network, at, err)
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
			_, _ = conn.Write([]byte("echo"))
			buf := make([]byte, 64)
			if n, err := conn.Read(buf); string(buf[:n]) != "echo" || err != nil {
				t.Errorf("%s %s: got %q, %v", network, at, buf[:n], err)
			}
			_ = conn.Close()
		}
	}

	if _, err := dial(ctx, "tcp", netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("closed port: got %v, want ECONNREFUSED", err)
	}

	if _, err := dial(ctx, "sctp", netip.MustParseAddrPort("127.0.0.1:1")); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown socket type: got %v, want NotFound", err)
	}
}

func TestDialContainerTimesOut(t *testing.T) {
	ns := testns.New(t)
	ns.Run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
	ns.Run("ip", "addr", "add", "10.0.0.1/24", "dev", "near")
	ns.Run("ip", "link", "set", "near", "up")
	ns.Run("ip", "link", "set", "far", "up")
	for _, path := range []string{socketServer(t, ns), filepath.Join(t.TempDir(), "absent")} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if conn, err := upstream.DialContainer(path, "owner")(ctx, "tcp",
			netip.MustParseAddrPort("10.0.0.9:53")); err == nil {
			t.Errorf("connected to %v", conn.RemoteAddr())
		}
		cancel()
	}
}
