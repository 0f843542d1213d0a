package egress_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// Bounds of the wait for an answer: of one that must come, and of one that must not.
const (
	answerTime  = 30 * time.Second
	silenceTime = 300 * time.Millisecond
)

// echo echoes datagrams to a port, or with a raw network such as "ip4:253" packets of a protocol.
func (w *world) echo(n *testns.NS, network, address string) {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	n.Do(func() { conn, err = net.ListenPacket(network, address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for data := make([]byte, 1<<16); ; {
			size, from, err := conn.ReadFrom(data)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(data[:size], from)
		}
	}()
}

// attack is a way to get packets out of a container.
type attack struct {
	network, to string
	size        int
	option      func(fd int) error // of the socket
	data        string             // before size zeros
}

// answered reports whether a gets an answer. It repeats packets, as neighbours must be resolved first.
func (w *world) answered(k attack, wait time.Duration) bool {
	w.t.Helper()
	control := func(_, _ string, c syscall.RawConn) (err error) {
		if k.option == nil {
			return nil
		}
		return errors.Join(c.Control(func(fd uintptr) { err = k.option(int(fd)) }), err)
	}
	var conn net.Conn
	var err error
	w.a.Do(func() { conn, err = (&net.Dialer{Control: control}).Dial(k.network, k.to) })
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()

	w.asked++ // an answer to an earlier packet does not count; the checksum of both halves is always the same
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, w.asked), ^w.asked)
	packet := append(append([]byte(k.data), tag...), make([]byte, k.size)...)
	buffer := make([]byte, 1<<16)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		_ = conn.SetDeadline(time.Now().Add(silenceTime))
		_, _ = conn.Write(packet)
		n, err := conn.Read(buffer)
		for ; err == nil; n, err = conn.Read(buffer) {
			if bytes.Contains(buffer[:n], tag) {
				return true
			}
		}
	}
	return false
}

// TestAttacks checks ways around the rules: each works without a policy and does not with it.
func TestAttacks(t *testing.T) {
	w := newWorld(t)
	w.echo(w.b, "udp", ":5353")
	w.echo(w.web, "udp", ":53")
	w.echo(w.b, "udp", ":53")
	w.echo(w.b, "ip4:253", "0.0.0.0")
	broadcast := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1) }
	headers := func(fd int) error { // destination options with padding only
		return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00")
	}
	attacks := map[string]attack{
		"fragments":                            {"udp", "10.9.0.3:5353", 4000, nil, ""},
		"IPv6 fragments":                       {"udp", "[fd09::3]:5353", 4000, nil, ""},
		"extension headers":                    {"udp", "[fd09::3]:5353", 8, headers, ""},
		"another protocol":                     {"ip4:253", "10.9.0.3", 8, nil, ""},
		"a raw datagram to port 5353":          {"ip4:udp", "10.9.0.3", 0, nil, "\x30\x39\x14\xe9\x00\x0c\x00\x00"},
		"an ICMP tunnel":                       {"ip4:icmp", web4, 1000, nil, ping(8)},
		"an ICMPv6 tunnel":                     {"ip6:ipv6-icmp", web6, 1000, nil, ping(128)},
		"a name server":                        {"udp", web4 + ":53", 8, nil, ""},
		"the name server of another container": {"udp", "10.9.0.3:53", 8, nil, ""},
	}
	for name, k := range attacks {
		if !w.answered(k, answerTime) {
			t.Errorf("%s: no answer without a policy", name)
		}
	}
	w.echo(w.b, "udp4", ":7777")
	everyone := attack{"udp", "10.9.0.255:7777", 8, broadcast, ""}
	if !w.reaches(everyone, answerTime) {
		t.Error("broadcast: not received without a policy")
	}

	w.put("10.9.0.3:80", "[fd09::3]:80", "a.test")
	for name, k := range attacks {
		if w.answered(k, silenceTime) {
			t.Errorf("%s: an answer with a policy", name)
		}
	}
	if w.reaches(everyone, silenceTime) {
		t.Error("broadcast: received with a policy")
	}
	w.put("10.9.0.3:5353/udp", "[fd09::3]:5353/udp") // ports of fragments and behind headers are seen
	for _, name := range []string{"fragments", "IPv6 fragments", "extension headers"} {
		if !w.answered(attacks[name], answerTime) {
			t.Errorf("%s: no answer though a rule allows it", name)
		}
	}
}

// ping returns the header of an echo request, whose data are zeros.
func ping(kind byte) string {
	if kind == 8 {
		return "\x08\x00\xf7\xff\x00\x00\x00\x00"
	}
	return string([]byte{kind}) + "\x00\x00\x00\x00\x00\x00\x00" // the kernel adds the checksum
}

// TestAttacksByName checks what answers of name servers open.
func TestAttacksByName(t *testing.T) {
	w := newWorld(t)
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom4([4]byte{192, 88, byte(i >> 8), byte(i)}))
	}
	web := netip.MustParseAddr(web4)
	for _, c := range []struct {
		what, name string
		addresses  []netip.Addr
		ttl        time.Duration
		open       bool
	}{
		{"another name", "b.test", []netip.Addr{web}, time.Hour, false},
		{"a name that ends like it", "xa.test", []netip.Addr{web}, time.Hour, false},
		{"a name that begins like it", "a.test.b.test", []netip.Addr{web}, time.Hour, false},
		{"a name that looks like it", "xn--80ah.test", []netip.Addr{web}, time.Hour, false},
		{"a name below it", "b.a.test", []netip.Addr{web}, time.Hour, false},
		{"mixed case", "A.TesT.", []netip.Addr{web}, time.Hour, true},
		{"IDNA", "xn--bcher-kva.test", []netip.Addr{web}, time.Hour, true},
		{"1,000 addresses", "a.test", append(many, web), time.Hour, true},
		{"TTL 0", "a.test", []netip.Addr{web}, 0, true},
		{"a TTL of a year", "a.test", []netip.Addr{web}, 365 * 24 * time.Hour, true},
	} {
		w.put("all") // forgets what was opened
		w.check(c.what+", without a policy", "+"+web4+":80")
		w.put("a.test/any-name", "bücher.test/any-name")
		if _, err := w.enforcer.Learn(context.Background(), owner, answer(c.name, c.addresses, c.ttl)); err != nil {
			t.Fatal(err)
		}
		w.a.Run("nft", "flush", "ruleset") // the container's own, as it can with NET_ADMIN
		w.check(c.what, map[bool]string{true: "+"}[c.open]+web4+":80", "["+web6+"]:80")
	}
	for _, line := range strings.Split(w.host.Run("nft", "list", "table", "inet", rules.TableName), "\n") {
		if strings.Contains(line, "timeout 365d") {
			t.Errorf("an address is open for a year: %s", line)
		}
	}
}

// reaches reports whether a broadcast of a is answered, from whatever address.
func (w *world) reaches(k attack, wait time.Duration) bool {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = k.option(int(fd)) }), err)
	}}
	w.a.Do(func() { conn, err = config.ListenPacket(context.Background(), "udp4", ":0") })
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(k.to))
	for end := time.Now().Add(wait); time.Now().Before(end); {
		_ = conn.SetDeadline(time.Now().Add(silenceTime))
		_, _ = conn.WriteTo(make([]byte, k.size), to)
		if _, _, err := conn.ReadFrom(make([]byte, 16)); err == nil {
			return true
		}
	}
	return false
}

// TestNothingPassesWhileAgentsRestart checks that no connection that the rules refuse is made while tables
// are written again, policies change, and processes of natagent end and start.
func TestNothingPassesWhileAgentsRestart(t *testing.T) {
	w := newWorld(t)
	w.put("10.9.0.3:80")
	ctx, stop := context.WithCancel(context.Background())
	var trying sync.WaitGroup
	var mu sync.Mutex
	var passed []string
	for _, to := range []string{web4 + ":443", "10.9.0.3:443", "10.9.0.1:80"} {
		trying.Go(func() {
			for ctx.Err() == nil {
				if c, err := w.a.Dial("tcp", to, time.Second); err == nil {
					_ = c.Close()
					mu.Lock()
					passed = append(passed, to)
					mu.Unlock()
				}
			}
		})
	}

	for i := range 8 {
		w.put("10.9.0.3:80", fmt.Sprintf("192.0.2.%d", i+1))
		w.start()
	}
	stop()
	trying.Wait()
	if len(passed) > 0 {
		t.Errorf("%d connections passed: %s", len(passed), strings.Join(passed[:min(len(passed), 3)], ", "))
	}
	w.check("afterwards", "+10.9.0.3:80", "10.9.0.3:443")
}

// TestHeldInterface checks that nothing passes from and to an interface without addresses in its policy, as
// while a running container is connected to a network.
func TestHeldInterface(t *testing.T) {
	w := newWorld(t)
	w.echo(w.a, "udp", ":5353")
	w.echo(w.b, "udp", ":5353")
	held := &plan.Container{Owner: owner, Name: "box", Rules: []string{"all", "!192.0.2.1"},
		Endpoints: []plan.Endpoint{{NetworkID: networkID, MAC: macA}}}
	if err := w.enforcer.Put(context.Background(), held, false); err != nil {
		t.Fatal(err)
	}
	out := attack{"udp", "10.9.0.3:5353", 8, nil, ""}
	if w.answered(out, silenceTime) {
		t.Error("a packet left a held interface")
	}
	if c, err := w.host.Dial("tcp", "10.9.0.2:80", silenceTime); err == nil {
		_ = c.Close()
		t.Error("the host reached a held interface")
	}
	if c, err := w.b.Dial("tcp", "10.9.0.2:80", silenceTime); err == nil {
		_ = c.Close()
		t.Error("a container reached a held interface")
	}
	w.put("all", "!192.0.2.1")
	if !w.answered(out, answerTime) {
		t.Error("the interface is held though its policy is in force")
	}
}
