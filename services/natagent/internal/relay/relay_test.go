package relay_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/relay"
)

// world has a host with relays, and an echo server at 10.9.0.2.
func world(t *testing.T) (*testns.NS, *relay.Relays) {
	t.Helper()
	host, container := testns.New(t), testns.New(t)
	testns.Connect(t, host, "br0", "10.9.0.1/24", container, "eth0", "10.9.0.2/24")
	l := container.Listen("tcp4", "0.0.0.0:80")
	t.Cleanup(func() { _ = l.Close() })
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

	r := relay.New(hostns.At(host.Fd()), slog.New(slog.DiscardHandler),
		func(netip.Addr, netip.AddrPort) bool { return true })
	t.Cleanup(func() { _ = r.Close() })
	return host, r
}

// TestRefusedClientsAreNotRelayed checks clients that policies allow, and then do not.
func TestRefusedClientsAreNotRelayed(t *testing.T) {
	host, _ := world(t)
	var refuses atomic.Bool
	r := relay.New(hostns.At(host.Fd()), slog.New(slog.DiscardHandler),
		func(client netip.Addr, target netip.AddrPort) bool {
			return !refuses.Load() || client.String() != "::1" || target.String() != "10.9.0.2:80"
		})
	defer r.Close()
	r.Set("a", []port.Binding{binding("0.0.0.0", 8888)})
	for _, refuse := range []bool{false, true} {
		refuses.Store(refuse)
		c, err := dial(host, "[::1]:8888")
		if err == nil {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			_, _ = c.Write([]byte("x"))
			_, err = c.Read(make([]byte, 1))
		}
		if (err != nil) != refuse {
			t.Errorf("policies refuse the client: %v, got %v", refuse, err)
		}
	}
}

func binding(ip string, number uint16) port.Binding {
	return port.Binding{Protocol: port.TCP, HostIP: netip.MustParseAddr(ip), Host: port.Single(number),
		ContainerIP: netip.MustParseAddr("10.9.0.2"), Container: port.Single(80)}
}

func dial(host *testns.NS, to string) (net.Conn, error) { return host.Dial("tcp6", to, time.Minute) }

func TestRelayLastsUntilRelease(t *testing.T) {
	host, r := world(t)
	r.Set("a", []port.Binding{binding("0.0.0.0", 8888)})
	r.Set("a", []port.Binding{binding("0.0.0.0", 8888)})
	c, err := dial(host, "[::1]:8888")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()

	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
	}

	open, err := dial(host, "[::1]:8888")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	r.Set("b", nil)
	r.Set("a", nil)
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("the connection survived the release")
	}
	if _, err := dial(host, "[::1]:8888"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the release: %v", err)
	}
}

func TestRestrictedPortsAreNotRelayed(t *testing.T) {
	host, r := world(t)
	for name, row := range map[string][]port.Binding{
		"one address": {binding("127.0.0.1", 8881)}, "some sources": {limited(binding("0.0.0.0", 8881))},
		"IPv6 has another binding": {binding("0.0.0.0", 8881), binding("::1", 8881)},
		"range":                    {run(binding("0.0.0.0", 8881))},
		"another protocol":         {udp(binding("0.0.0.0", 8881))},
	} {
		r.Set("a", row)
		if _, err := dial(host, "[::1]:8881"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func limited(b port.Binding) port.Binding { b.Sources = "10.0.0.0/8"; return b }
func run(b port.Binding) port.Binding     { b.Host.Last = 8990; return b }
func udp(b port.Binding) port.Binding     { b.Protocol = port.UDP; return b }

func TestRelayYieldsPort(t *testing.T) {
	host, r := world(t)
	other := host.Listen("tcp6", "[::]:8882")
	defer func() { _ = other.Close() }()
	r.Set("a", []port.Binding{binding("0.0.0.0", 8882), binding("0.0.0.0", 8883)})
	if r.Yield(8882) || !r.Yield(8883) || r.Yield(8883) {
		t.Error("got a relay on a port in use, or none on a free port")
	}
	mine := host.Listen("tcp6", "[::]:8883")
	_ = mine.Close()
}

func TestRelayResetsClientWithoutServer(t *testing.T) {
	host, r := world(t)
	dead := binding("0.0.0.0", 8884)
	dead.Container = port.Single(81)
	r.Set("a", []port.Binding{dead})
	c, err := dial(host, "[::1]:8884")
	if errors.Is(err, syscall.ECONNRESET) {
		return // before the client was connected
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}
