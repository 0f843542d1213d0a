package egress_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
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
