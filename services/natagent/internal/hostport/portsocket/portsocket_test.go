package portsocket_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/hostport/portsocket"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// reusing opens a server with SO_REUSEADDR, as most servers do.
func reusing(t *testing.T, n *testns.NS, network, addr string) (c interface{ Close() error }, err error) {
	t.Helper()
	cfg := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return err
	}}

	n.Do(func() {
		if network[:3] == "udp" {
			c, err = cfg.ListenPacket(context.Background(), network, addr)
		} else {
			c, err = cfg.Listen(context.Background(), network, addr)
		}
	})

	return c, err
}

func TestPortSocketExcludesProcess(t *testing.T) {
	for _, row := range []struct {
		proto   port.Protocol
		held    string
		network string
		program string
	}{
		{"tcp", "0.0.0.0:8080", "tcp4", "0.0.0.0:8080"},
		{"tcp", "0.0.0.0:8080", "tcp4", "127.0.0.1:8080"},
		{"tcp", "0.0.0.0:8080", "tcp", "[::]:8080"},
		{"tcp", "127.0.0.1:8080", "tcp4", "0.0.0.0:8080"},
		{"tcp", "[::]:8080", "tcp", "[::]:8080"},
		{"tcp", "[::]:8080", "tcp6", "[::1]:8080"},
		{"udp", "0.0.0.0:8080", "udp4", "127.0.0.1:8080"},
		{"udp", "127.0.0.1:8080", "udp4", "0.0.0.0:8080"},
		{"udp", "[::]:8080", "udp6", "[::1]:8080"},
	} {
		t.Run(string(row.proto)+" "+row.held+" and "+row.program, func(t *testing.T) {
			t.Parallel()
			n := testns.New(t)
			holder := portsocket.New(hostns.At(n.Fd()))

			port, err := holder.Bind(row.proto, at(row.held))
			if err != nil {
				t.Fatal(err)
			}
			if c, err := reusing(t, n, row.network, row.program); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("bind by a process: got %v, want EADDRINUSE", err)
				if err == nil {
					_ = c.Close()
				}
			}
			if err := port.Close(); err != nil {
				t.Fatal(err)
			}

			c, err := reusing(t, n, row.network, row.program)
			for end := time.Now().Add(60 * time.Second); errors.Is(err, unix.EADDRINUSE) && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // a child of another test holds the socket until exec
				c, err = reusing(t, n, row.network, row.program)
			}
			if err != nil {
				t.Fatalf("bind after Close: %v", err)
			}
			defer func() { _ = c.Close() }()
			if _, err := holder.Bind(row.proto, at(row.held)); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("Bind of a port in use: got %v, want EADDRINUSE", err)
			}
		})
	}
}

func TestPortSocketsOnDifferentAddresses(t *testing.T) {
	n := testns.New(t)
	holder := portsocket.New(hostns.At(n.Fd()))
	for _, addr := range []string{"127.0.0.1:80", "127.0.0.2:80", "[::]:80"} {
		port, err := holder.Bind(port.TCP, at(addr))
		if err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		defer func() { _ = port.Close() }()
	}
}

func TestIPv4SocketKeepsIPv6Refused(t *testing.T) {
	n := testns.New(t)
	port, err := portsocket.New(hostns.At(n.Fd())).Bind(port.TCP, at("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = port.Close() }()
	if _, err := n.Dial("tcp", "[::1]:80", time.Minute); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial [::1]:80: %v, want connection refused", err)
	}
}

func TestPortSocketDropsPackets(t *testing.T) {
	n := testns.New(t)
	port, err := portsocket.New(hostns.At(n.Fd())).Bind(port.TCP, at("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = port.Close() }()
	var nerr net.Error
	if c, err := n.Dial("tcp", "127.0.0.1:80", 200*time.Millisecond); !errors.As(err, &nerr) || !nerr.Timeout() {
		t.Errorf("dial: got %v, %v; want a timeout", c, err)
	}
}

func TestBindDuringTimeWait(t *testing.T) {
	n := testns.New(t)
	l := n.Listen("tcp", "127.0.0.1:80")
	go func() { // closes first, so that TIME_WAIT is on its side
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
	}()

	c, err := n.Dial("tcp", "127.0.0.1:80", time.Minute)
	if err != nil {
		t.Fatal(err)
	}

	_, _ = c.Read(make([]byte, 1))
	_ = c.Close()
	_ = l.Close()
	port, err := portsocket.New(hostns.At(n.Fd())).Bind(port.TCP, at("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}

	_ = port.Close()
}

func TestBindUnassignedAddress(t *testing.T) {
	n := testns.New(t)
	if _, err := portsocket.New(hostns.At(n.Fd())).Bind(port.TCP, at("203.0.113.5:80")); !errors.Is(err,
		unix.EADDRNOTAVAIL) {
		t.Errorf("err = %v, want EADDRNOTAVAIL", err)
	}
}

func TestDynamicReadsNamespace(t *testing.T) {
	n := testns.New(t)
	n.Run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40009",
		"net.ipv4.ip_local_reserved_ports=40003,40005-40006")

	d, err := portsocket.New(hostns.At(n.Fd())).Dynamic()
	if err != nil {
		t.Fatal(err)
	}
	if d.Range.First != 40000 || d.Range.Last != 40009 {
		t.Errorf("range %v, want 40000-40009", d.Range)
	}

	for port, want := range map[uint16]bool{40002: false, 40003: true, 40004: false, 40005: true, 40006: true,
		40007: false} {
		if d.Reserved(port) != want {
			t.Errorf("Reserved(%d) = %v, want %v", port, !want, want)
		}
	}
}
