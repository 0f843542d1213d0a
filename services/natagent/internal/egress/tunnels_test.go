package egress_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
)

// arrives reports whether one of the packets of a, which begin with the given headers, reaches a raw socket of another
// namespace.
func (w *world) arrives(network string, headers []string, at *testns.NS, address string, wait time.Duration) bool {
	w.t.Helper()
	in := at.ListenPacket(network, address)
	defer in.Close()
	out, err := w.a.Dial(network, address, time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()

	w.asked++
	tag := fmt.Appendf(nil, "%s number %d", w.t.Name(), w.asked)
	buffer := make([]byte, 1<<16)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		for _, header := range headers {
			_, _ = out.Write(append([]byte(header), tag...))
		}
		_ = in.SetReadDeadline(time.Now().Add(silenceTime))
		n, _, err := in.ReadFrom(buffer)
		for ; err == nil; n, _, err = in.ReadFrom(buffer) {
			if bytes.Contains(buffer[:n], tag) {
				return true
			}
		}
	}
	return false
}

// TestNeighbourDiscoveryIsNoTunnel checks messages that IPv6 needs on a link. Those that a router would forward are
// refused, also on the way to a container of the same bridge.
func TestNeighbourDiscoveryIsNoTunnel(t *testing.T) {
	w := newWorld(t)
	var headers []string
	for kind := byte(133); kind <= 137; kind++ {
		headers = append(headers, string([]byte{kind})+strings.Repeat("\x00", 23))
	}
	ends := map[string]*testns.NS{web6: w.web, "fd09::3": w.b}
	for _, netfilter := range []bool{false, true} {
		w.bridgeNetfilter(netfilter)
		w.put("all")
		for to, end := range ends {
			if !w.arrives("ip6:ipv6-icmp", headers, end, to, answerTime) {
				t.Errorf("bridge netfilter %v: nothing reaches %s without a policy", netfilter, to)
			}
		}
		w.put("none")
		for to, end := range ends {
			if w.arrives("ip6:ipv6-icmp", headers, end, to, silenceTime) {
				t.Errorf("bridge netfilter %v: neighbour discovery reaches %s with a policy", netfilter, to)
			}
		}
	}
	w.put("fd09::3/128", web6)
	w.b.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	w.a.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	w.check("neighbours can be found", "+[fd09::3]:80", "+["+web6+"]:80")
}

// TestLinkLocalConnectionsAreCut checks a connection from an address that netagent has not assigned, under a policy
// that does not allow it any more.
func TestLinkLocalConnectionsAreCut(t *testing.T) {
	w := newWorld(t)
	fields := strings.Fields(w.host.Run("ip", "-6", "-br", "addr", "show", "dev", "br0", "scope", "link"))
	host, _, _ := strings.Cut(fields[2], "/")
	w.put("host:80")
	dialer := net.Dialer{Timeout: answerTime, LocalAddr: &net.TCPAddr{IP: net.ParseIP("fe80::ff:fe00:a"), Zone: "eth0"}}
	w.a.Run("ip", "-6", "addr", "add", "fe80::ff:fe00:a/64", "dev", "eth0", "nodad")
	var c net.Conn
	var err error
	w.a.Do(func() { c, err = dialer.Dial("tcp", "["+host+"%eth0]:80") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange := func(limit time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(limit))
		_, _ = c.Write([]byte("x"))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	if err := exchange(answerTime); err != nil {
		t.Fatal(err)
	}
	w.put("host:443")
	if exchange(silenceTime) == nil {
		t.Error("a connection that is not allowed any more continues")
	}
}

// TestRelays checks connections through a relay of the host for IPv6 clients of a published port: the policies of both
// ends hold, though the kernel sees the host.
func TestRelays(t *testing.T) {
	w := newWorld(t)
	const b, a = "10.9.0.3:80", "10.9.0.2:80"
	for _, c := range []struct {
		egress, ingress, client, to string
		want                        bool
	}{
		{"all", "all", "fd09::2", b, true}, {"host", "all", "fd09::2", b, false}, {"host,10.9.0.3:80", "all",
			"fd09::2", b, true},
		{"host", "all", "fe80::ff:fe00:a", b, false}, {"host", "all", "fd09::3", b, true},
		{"all", "all", "2001:db8::9", a, true}, {"all", "host", "2001:db8::9", a, false},
		{"all", "host", "::1", a, true}, {"all", "host", "fd09::1", a, true}, {"all", "lan", "fd09::3", a, true},
		{"all", "none", "::1", a, false},
	} {
		w.putIngress(strings.Split(c.egress, ","), []string{c.ingress})
		if got := egress.RelayPolicy(w.enforcer)(netip.MustParseAddr(c.client),
			netip.MustParseAddrPort(c.to)); got != c.want {
			t.Errorf("egress %s, ingress %s: %s to %s: got %v", c.egress, c.ingress, c.client, c.to, got)
		}
	}
	if got := w.refusals(4); !strings.Contains(got, "box policy tcp 10.9.0.3 80") ||
		!strings.Contains(got, "box policy tcp 2001:db8::9 80  in") {
		t.Errorf("records:\n%s", got)
	}
}

// TestHelpersOpenNothing checks connections that a helper of connection tracking expects, here of FTP: a server that is
// allowed chooses their port.
func TestHelpersOpenNothing(t *testing.T) {
	w := newWorld(t)
	w.host.Run("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", "21", "-j", "CT", "--helper",
		"ftp")
	w.host.Run("ip6tables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", "21", "-j", "CT", "--helper",
		"ftp")
	servers := map[string]string{web4: "227 Entering Passive Mode (198,51,100,2,1,187)\r\n",
		web6: "229 Entering Extended Passive Mode (|||443|)\r\n"}
	for address, answer := range servers {
		l := w.web.Listen("tcp", net.JoinHostPort(address, "21"))
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() {
					defer c.Close()
					_, _ = c.Write([]byte("220 ready\r\n"))
					for buffer := make([]byte, 64); ; {
						if _, err := c.Read(buffer); err != nil {
							return
						}
						_, _ = c.Write([]byte(answer))
					}
				}()
			}
		}()
	}

	w.put(web4+":21", "["+web6+"]:21")
	for address := range servers {
		control, err := w.a.Dial("tcp", net.JoinHostPort(address, "21"), answerTime)
		if err != nil {
			t.Fatal(err)
		}
		defer control.Close()
		command, family := "PASV\r\n", "ipv4"
		if strings.Contains(address, ":") {
			command, family = "EPSV\r\n", "ipv6"
		}
		_ = control.SetDeadline(time.Now().Add(answerTime))
		for _, line := range []string{"", command} { // after the greeting
			_, _ = control.Write([]byte(line))
			if _, err := control.Read(make([]byte, 64)); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := w.host.Try("conntrack", "-L", "expect", "-f", family); !strings.Contains(got, "dport=443") {
			t.Errorf("%s: the helper expects no connection, but %q", address, got)
		}
		w.check("expected by a helper", net.JoinHostPort(address, "443"))
	}
}
