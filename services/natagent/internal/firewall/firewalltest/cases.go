package firewalltest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Timeouts for a response that must arrive, and for one that must not.
const (
	answerWithin  = time.Minute
	blockedWithin = 300 * time.Millisecond
)

// Expected results other than a response.
const (
	blocked = "blocked" // refused or dropped
	refused = "refused" // immediately
)

// Case is one connection and its expected result.
type Case struct {
	From, Network, To string
	Want              string // "NAME sees ADDRESS", blocked or refused
	// Unfiltered is the result without a firewall, to prove that the case can fail. Empty: not
	// tested.
	Unfiltered string
}

// Name returns the name of the subtest.
func (c Case) Name() string { return fmt.Sprintf("%s to %s %s is %s", c.From, c.To, c.Network, c.Want) }

// Cases returns all cases.
func Cases() []Case {
	return slices.Concat(published(), rangeCases(), gateways(), addresses(), restrictedCases(), open(), routed(),
		directlyRouted(), separation(), loopback())
}

func published() []Case {
	return []Case{
		{"ext", "tcp", "10.1.0.1:8080", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.1:8080", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "10.1.0.1:9090", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "10.1.0.1:7000", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "10.1.0.1:7005", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "10.1.0.1:7010", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "10.1.0.5:8080", "a sees 10.1.0.2", ""},
		{"ext", "tcp", "[fd01::1]:8080", "a sees fd01::2", ""},
		{"ext", "udp", "[fd01::1]:8080", "a sees fd01::2", ""},
		{"ext", "tcp", "[fd01::1]:9090", "a sees fd01::2", ""},
		{"ext", "tcp", "10.1.0.5:9090", blocked, ""},
		{"ext", "tcp", "10.1.0.1:9191", blocked, ""},
		{"ext", "tcp", "10.1.0.1:8100", "g sees 10.1.0.2", ""},
		{"ext", "tcp", "[fd01::1]:8100", refused, ""},
		{"host", "tcp", "10.1.0.1:8080", "a sees 10.1.0.1", ""},
		{"host", "tcp", "[fd01::1]:8080", "a sees fd01::1", ""},
		{"host", "tcp", "[::1]:8100", refused, ""},
		{"a", "tcp", "10.1.0.1:8080", "a sees 10.10.1.1", ""},
		{"b", "tcp", "10.1.0.1:8080", "a sees 10.10.1.1", ""},
		{"b", "udp", "10.1.0.1:8080", "a sees 10.10.1.1", ""},
		{"b", "tcp", "10.10.1.1:8080", "a sees 10.10.1.1", ""},
		{"b", "tcp", "[fd01::1]:8080", "a sees fd10:1::1", ""},
		{"c", "tcp", "10.1.0.1:8080", "a sees 10.10.2.2", ""},
		{"c", "tcp", "[fd01::1]:8080", "a sees fd10:2::2", ""},
		{"f", "tcp", "10.1.0.1:8099", "e sees 10.10.4.1", ""},
	}
}

// gateways has connections by the address of a network's gateway to a container of another network. p is on
// both networks, so it would reply to 10.10.1.0/24 itself.
func gateways() []Case {
	return []Case{
		{"p", "tcp", "10.10.1.1:8108", "p sees 10.10.2.1", ""},
		{"p", "tcp", "[fd10:1::1]:8108", "p sees fd10:2::1", ""},
		{"p", "tcp", "10.10.2.1:8108", "p sees 10.10.2.1", ""},
		{"b", "tcp", "10.10.1.1:8108", "p sees 10.10.2.1", ""},
		{"b", "udp", "10.10.1.1:8108", "p sees 10.10.2.1", ""},
		{"b", "tcp", "[fd10:1::1]:8108", "p sees fd10:2::1", ""},
		{"host", "tcp", "10.10.1.1:8108", "p sees 10.10.2.1", ""},
		{"host", "tcp", "10.10.3.1:8108", "p sees 10.10.2.1", ""},
		{"j", "tcp", "10.10.6.1:8108", "p sees 10.10.2.1", ""},
		{"c", "tcp", "10.10.1.1:8108", "p sees 10.10.2.1", ""},
		{"h", "tcp", "10.10.1.1:8108", "p sees 10.10.5.2", ""},
		{"ext", "tcp", "10.10.2.1:8108", "p sees 10.1.0.2", ""},
	}
}

func rangeCases() []Case {
	return []Case{
		{"ext", "udp", "10.1.0.1:20000", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.5:40000", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.1:60000", "a sees 10.1.0.2", ""},
		{"ext", "udp", "[fd01::1]:40000", "a sees fd01::2", ""},
		{"ext", "udp", "10.1.0.1:10000", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.1:10050", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.1:10100", "a sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.1:10101", blocked, ""},
		{"ext", "udp", "10.1.0.5:10050", blocked, ""},
		{"ext", "tcp", "10.1.0.1:40000", blocked, ""},
		{"host", "udp", "127.0.0.1:40000", "a sees 10.10.1.1", ""},
		{"host", "udp", "10.1.0.1:10050", "a sees 10.1.0.1", ""},
	}
}

func addresses() []Case {
	return []Case{
		{"ext", "tcp", "10.1.0.7:80", "b sees 10.1.0.2", ""},
		{"ext", "udp", "10.1.0.7:80", "b sees 10.1.0.2", ""},
		{"ext", "tcp", "[fd01::7]:80", "b sees fd01::2", ""},
		{"ext", "tcp", "10.1.0.7:81", refused, ""},
		{"ext", "tcp", "10.1.0.7:8080", refused, ""},           // precedes ports of all addresses
		{"ext", "tcp", "10.1.0.7:8081", "a sees 10.1.0.2", ""}, // follows ports of this address
		{"ext", "udp", "10.1.0.7:40000", blocked, ""},
		{"host", "tcp", "10.1.0.7:80", "b sees 10.1.0.1", ""},
		{"c", "tcp", "10.1.0.7:80", "b sees 10.10.2.2", ""},
		{"b", "tcp", "10.1.0.7:80", "b sees 10.10.1.1", ""}, // its own address
		{"b", "tcp", "10.1.0.2:80", "ext sees 10.1.0.7", "ext sees 10.10.1.3"},
		{"b", "udp", "10.1.0.2:80", "ext sees 10.1.0.7", "ext sees 10.10.1.3"},
		{"b", "tcp", "[fd01::2]:80", "ext sees fd01::7", "ext sees fd10:1::3"},
	}
}

// restrictedCases has bindings with allowed sources; the host itself can always connect. "ext3" is
// ext with its second address.
func restrictedCases() []Case {
	return []Case{
		{"ext3", "tcp", "10.1.0.1:8301", "a sees 10.1.0.3", ""},
		{"ext3", "tcp", "10.1.0.5:8301", "a sees 10.1.0.3", ""},
		{"ext", "tcp", "10.1.0.1:8301", blocked, ""},
		{"c", "tcp", "10.1.0.1:8301", "a sees 10.10.2.2", ""},
		{"b", "tcp", "10.1.0.1:8301", blocked, ""},
		{"host", "tcp", "10.1.0.1:8301", "a sees 10.1.0.1", ""},
		{"host", "tcp", "127.0.0.1:8301", "a sees 10.10.1.1", ""},
		{"ext3", "tcp", "[fd01::1]:8301", "a sees fd01::3", ""},
		{"ext", "tcp", "[fd01::1]:8301", blocked, ""},
		{"host", "tcp", "[::1]:8301", "a sees fd10:1::1", ""},
		{"ext", "tcp", "10.1.0.1:8302", "a sees 10.1.0.2", ""},
		{"c", "tcp", "10.1.0.1:8302", blocked, ""},
		{"ext3", "tcp", "10.1.0.7:8303", "a sees 10.1.0.3", ""},
		{"ext", "tcp", "10.1.0.7:8303", blocked, ""},
		{"ext3", "udp", "10.1.0.1:15050", "a sees 10.1.0.3", ""},
		{"ext", "udp", "10.1.0.1:15050", blocked, ""},
		{"host", "tcp", "127.0.0.1:8304", "a sees 10.10.1.1", ""},
		{"ext", "tcp", "127.0.0.1:8304", blocked, ""},
		{"ext3", "tcp", "10.1.0.9:80", "b sees 10.1.0.3", ""},
		{"ext", "tcp", "10.1.0.9:80", blocked, ""},
		{"ext3", "tcp", "10.1.0.9:8080", refused, ""},
		{"ext", "tcp", "10.1.0.9:8080", blocked, ""}, // not forwarded to ports of all addresses either
		{"host", "tcp", "10.1.0.9:80", "b sees 10.1.0.1", ""},
	}
}

// open has networks with gateway mode nat-unprotected and trusted interfaces.
func open() []Case {
	return []Case{
		{"ext", "tcp", "10.10.5.2:80", "h sees 10.1.0.2", ""},
		{"ext", "udp", "10.10.5.2:80", "h sees 10.1.0.2", ""},
		{"ext", "tcp", "[fd10:5::2]:80", "h sees fd01::2", ""},
		{"c", "tcp", "10.10.5.2:80", "h sees 10.10.2.2", ""},
		{"d", "tcp", "10.10.5.2:80", blocked, "h sees 10.10.3.2"}, // from an internal network
		{"h", "tcp", "10.1.0.2:80", "ext sees 10.1.0.5", "ext sees 10.10.5.2"},
		{"h", "tcp", "10.10.1.2:80", blocked, "a sees 10.10.5.2"},
		{"ext", "tcp", "10.10.4.3:80", "f sees 10.1.0.2", ""}, // from a trusted interface
		{"c", "tcp", "10.10.4.3:80", blocked, "f sees 10.10.2.2"},
	}
}

func separation() []Case {
	return []Case{
		{"b", "tcp", "10.10.1.2:80", "a sees 10.10.1.3", ""},
		{"f", "tcp", "10.10.4.2:80", blocked, ""},
		{"f", "tcp", "[fd10:4::2]:80", blocked, ""},
		{"c", "tcp", "10.10.1.2:80", blocked, "a sees 10.10.2.2"},
		{"c", "tcp", "[fd10:1::2]:80", blocked, "a sees fd10:2::2"},
		{"ext", "tcp", "10.10.1.2:80", blocked, "a sees 10.1.0.2"},
		{"ext", "tcp", "10.10.1.2:79", blocked, "a sees 10.1.0.2"},
		{"ext", "udp", "10.10.1.2:80", blocked, "a sees 10.1.0.2"},
		{"ext", "tcp", "10.10.1.3:80", blocked, "b sees 10.1.0.2"},
		{"ext", "tcp", "[fd10:1::2]:80", blocked, "a sees fd01::2"},
		{"ext", "tcp", "[fd10:1::3]:80", blocked, "b sees fd01::2"},
		{"a", "tcp", "10.1.0.2:80", "ext sees 10.1.0.1", "ext sees 10.10.1.2"},
		{"a", "udp", "10.1.0.2:80", "ext sees 10.1.0.1", "ext sees 10.10.1.2"},
		{"a", "tcp", "[fd01::2]:80", "ext sees fd01::1", "ext sees fd10:1::2"},
		{"c", "tcp", "10.1.0.2:80", "ext sees 10.1.0.1", "ext sees 10.10.2.2"},
		{"d", "tcp", "10.1.0.2:80", blocked, "ext sees 10.10.3.2"},
		{"d", "tcp", "[fd01::2]:80", blocked, "ext sees fd10:3::2"},
		{"d", "tcp", "10.10.1.2:80", blocked, "a sees 10.10.3.2"},
		{"d", "tcp", "10.1.0.1:8080", blocked, ""},
		{"a", "tcp", "10.10.3.2:80", blocked, "d sees 10.10.1.2"},
		{"ext", "tcp", "10.10.3.2:80", blocked, "d sees 10.1.0.2"},
		{"host", "tcp", "10.10.3.2:80", "d sees 10.10.3.1", ""},
	}
}

func loopback() []Case {
	return []Case{
		{"host", "tcp", "127.0.0.1:8080", "a sees 10.10.1.1", ""},
		{"host", "udp", "127.0.0.1:8080", "a sees 10.10.1.1", ""},
		{"host", "tcp", "127.0.0.1:9191", "a sees 10.10.1.1", ""},
		{"host", "tcp", "127.0.0.1:8099", "e sees 10.10.4.1", ""}, // through another bridge
		{"host", "tcp", "[::1]:8080", "a sees fd10:1::1", ""},
		{"host", "udp", "[::1]:8080", "a sees fd10:1::1", ""},
		{"host", "tcp", "127.0.0.1:7777", "host sees 127.0.0.1", "host sees 127.0.0.1"},
		{"rogue", "tcp", "127.0.0.1:7777", blocked, "host sees 10.10.1.66"},
		{"rogue", "tcp", "127.0.0.1:9191", blocked, ""},
		{"ext", "tcp", "127.0.0.1:7777", blocked, "host sees 10.1.0.2"},
		{"ext", "tcp", "127.0.0.1:9191", blocked, ""},
		{"ext", "tcp", "127.0.0.1:8080", blocked, ""},
	}
}

// Try makes the connection of a case and returns its result.
func (tp *Topology) Try(c Case, timeout time.Duration) string {
	conn, err := tp.dial(c, timeout)
	if err != nil {
		return outcome(err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := exchange(conn, timeout)
	if err != nil {
		return outcome(err)
	}
	return answer
}

// dial connects. The external host uses one of its two addresses.
func (tp *Topology) dial(c Case, timeout time.Duration) (net.Conn, error) {
	name, outside := strings.CutPrefix(c.From, "ext")
	if !outside {
		return tp.nodes[c.From].Dial(c.Network, c.To, timeout)
	}

	ip := net.ParseIP("10.1.0." + cmp.Or(name, "2"))
	if strings.HasPrefix(c.To, "[") {
		ip = net.ParseIP("fd01::" + cmp.Or(name, "2"))
	}

	dialer := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: ip}}
	if c.Network == "udp" {
		dialer.LocalAddr = &net.UDPAddr{IP: ip}
	}

	var conn net.Conn
	var err error
	tp.nodes["ext"].Do(func() { conn, err = dialer.Dial(c.Network, c.To) })
	return conn, err
}

func exchange(conn net.Conn, timeout time.Duration) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}

	buf := make([]byte, 100)
	if _, udp := conn.(*net.UDPConn); !udp {
		b, err := io.ReadAll(conn)
		return string(b), err
	}

	if _, err := conn.Write([]byte("?")); err != nil {
		return "", err
	}

	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func outcome(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	// the last means no ARP reply
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err), errors.Is(err, syscall.EHOSTUNREACH):
		return blocked
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// met reports whether the result of a case is as expected.
func met(want, got string) bool { return got == want || want == blocked && got == refused }

func timeoutFor(want string) time.Duration {
	if want == blocked {
		return blockedWithin
	}
	return answerWithin
}

// spoofed reports whether the host accepts a datagram with a loopback source from the LAN.
func (tp *Topology) spoofed(from string, at net.PacketConn) (bool, error) {
	src := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 99)}
	dst := &net.UDPAddr{IP: net.IPv4(10, 1, 0, 1), Port: at.LocalAddr().(*net.UDPAddr).Port}
	var err error
	tp.nodes[from].Do(func() {
		var c *net.UDPConn
		if c, err = net.DialUDP("udp", src, dst); err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte("spoofed"))
	})

	if err != nil {
		return false, err
	}
	if err := at.SetReadDeadline(time.Now().Add(blockedWithin)); err != nil {
		return false, err
	}

	_, _, err = at.ReadFrom(make([]byte, 16))
	return err == nil, nil
}
