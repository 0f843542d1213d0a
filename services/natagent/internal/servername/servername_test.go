package servername

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
)

var (
	clientMAC = MAC{2, 0, 0, 0, 0, 10}
	secondMAC = MAC{2, 0, 0, 0, 0, 11} // of the same container
	routerMAC = MAC{2, 0, 0, 0, 0, 1}
)

type box struct{ policy egress.Policy }

func (box) ID() string { return "box" }

func (b box) AllowsServer(name string, server netip.AddrPort) bool {
	return b.policy.AllowsServer(name, server)
}

func (b box) AllowsQUIC(name string, server netip.AddrPort) bool {
	return b.policy.AllowsQUIC(name, server)
}

// peer is one end of a connection.
type peer struct {
	addr     netip.AddrPort
	seq, ack uint32
}

// link is a connection through a Checker.
type link struct {
	t              *testing.T
	checker        *Checker
	client, server peer
}

func newChecker(t *testing.T, rules string) *Checker {
	t.Helper()
	p, err := egress.Parse([]string{rules})
	if err != nil {
		t.Fatal(err)
	}
	return New(func(m MAC) Owner {
		if m == clientMAC || m == secondMAC {
			return box{p}
		}
		return nil
	}, func(a netip.Addr) MAC {
		if a == netip.MustParseAddrPort(knownAddr).Addr() {
			return clientMAC
		}
		return MAC{}
	})
}

// open opens a connection to a port.
func open(t *testing.T, c *Checker, client, server string) *link {
	t.Helper()
	l := &link{t: t, checker: c, client: peer{netip.MustParseAddrPort(client), 4294967290, 0},
		server: peer{netip.MustParseAddrPort(server), 1000, 0}}
	l.want("SYN", Accept, l.send(flagSYN, ""))
	l.client.seq++
	l.server.ack = l.client.seq
	l.want("SYN-ACK", Accept, l.answer(flagSYN|flagACK, ""))
	l.server.seq++
	l.client.ack = l.server.seq
	l.want("ACK", Accept, l.send(flagACK, ""))
	return l
}

func (l *link) want(what string, a Action, got Verdict) {
	l.t.Helper()
	if got.Action != a {
		l.t.Errorf("%s: got action %d, want %d", what, got.Action, a)
	}
}

// send sends a segment of the client, without moving on.
func (l *link) send(flags byte, data string) Verdict {
	return l.checker.Check(Packet{Data: packet(l.client, l.server, flags, data), MAC: clientMAC})
}

// write sends data of the client.
func (l *link) write(data string) Verdict {
	v := l.send(flagACK, data)
	l.client.seq += uint32(len(data))
	return v
}

// answer sends a segment of the server, without moving on.
func (l *link) answer(flags byte, data string) Verdict {
	return l.checker.Check(Packet{Data: packet(l.server, l.client, flags, data), MAC: routerMAC, Reply: true})
}

// reply acknowledges everything and sends data of the server.
func (l *link) reply(data string) Verdict {
	l.server.ack = l.client.seq
	v := l.answer(flagACK, data)
	l.server.seq += uint32(len(data))
	return v
}

// packet returns a packet of IPv4 or IPv6.
func packet(from, to peer, flags byte, data string) []byte {
	tcp := binary.BigEndian.AppendUint16(nil, from.addr.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, to.addr.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, from.seq)
	tcp = binary.BigEndian.AppendUint32(tcp, from.ack)
	tcp = append(append(tcp, 0x60, flags, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1), data...) // with four bytes of options
	if from.addr.Addr().Is4() {
		ip := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(tcp)))
		ip = append(ip, 0, 0, 0x40, 0, 64, protoTCP, 0, 0)
		ip = append(append(ip, from.addr.Addr().AsSlice()...), to.addr.Addr().AsSlice()...)
		return append(append(ip, tcp...), 0, 0, 0) // padded by the link
	}
	ip := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(8+len(tcp)))
	ip = append(ip, protoOptions, 64)
	ip = append(append(ip, from.addr.Addr().AsSlice()...), to.addr.Addr().AsSlice()...)
	return append(append(ip, protoTCP, 0, 1, 4, 0, 0, 0, 0), tcp...)
}

func hello(t *testing.T, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: name}).Handshake() }()
	buffer := make([]byte, 64<<10)
	n, err := server.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

const (
	clientAddr = "10.9.0.2:40000"
	knownAddr  = "10.9.0.9:40000" // is known as that of clientMAC
	tlsAddr    = "198.51.100.7:443"
	httpAddr   = "198.51.100.7:80"
	request    = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	other      = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"
)

// serverHello is the begin of a server's answer that asks for nothing.
var serverHello = "\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + strings.Repeat("r", 64)

func TestTLS(t *testing.T) {
	for _, addrs := range [][2]string{{clientAddr, tlsAddr}, {"[fd09::2]:40000", "[2001:db8::7]:443"}} {
		c := newChecker(t, "a.test")
		l := open(t, c, addrs[0], addrs[1])
		data := hello(t, "a.test")
		l.want("first part", Accept, l.write(data[:20]))
		l.want("second part", Accept, l.write(data[20:]))
		l.want("acknowledgement", Accept, l.reply(""))
		l.want("answer", Verified, l.reply(serverHello))
		if len(c.flows) != 0 {
			t.Errorf("%d flows are left", len(c.flows))
		}

		l = open(t, c, addrs[0], addrs[1])
		v := l.write(hello(t, "b.test"))
		l.want("neighbour", Refuse, v)
		if v.Name != "b.test" || v.Owner != "box" || v.Server.String() != addrs[1] || v.Client.String() != addrs[0] {
			t.Errorf("got %+v", v)
		}
		v = l.write("x")
		l.want("after the refusal", Refuse, v)
		if v.Owner != "" {
			t.Error("one connection is recorded twice")
		}
	}
}

// TestAskedAgain follows a handshake whose server wants a second ClientHello.
func TestAskedAgain(t *testing.T) {
	c := newChecker(t, "a.test")
	retry := "\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e" +
		"\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c" + strings.Repeat("r", 20)
	l := open(t, c, clientAddr, tlsAddr)
	l.write(hello(t, "a.test"))
	l.want("the server asks again", Accept, l.reply(retry))
	l.want("another name then", Refuse, l.write("\x14\x03\x03\x00\x01\x01"+hello(t, "b.test")))

	l = open(t, c, clientAddr, tlsAddr)
	l.write(hello(t, "a.test"))
	l.want("another name before it asks", Refuse, l.write(hello(t, "b.test")))

	l = open(t, c, clientAddr, tlsAddr)
	l.write(hello(t, "a.test"))
	l.reply(retry)
	l.want("the same name", Accept, l.write(hello(t, "a.test")))
	l.want("answer", Verified, l.reply(serverHello))
}

func TestHTTP(t *testing.T) {
	c := newChecker(t, "a.test,!c.a.test,*.a.test")
	for _, tc := range []struct {
		what  string
		parts []string
		want  Action
		name  string
	}{
		{"requests", []string{request, request + request, request[:10], request[10:]}, Accept, ""},
		{"second host", []string{request, other}, Refuse, "b.test"},
		{"pipelined", []string{request + other}, Refuse, "b.test"},
		{"denied", []string{strings.Replace(request, "a.test", "c.a.test", 1)}, Refuse, "c.a.test"},
		{"target with a name", []string{strings.Replace(request, "/ ", "http://b.test/ ", 1)}, Refuse, "b.test"},
		{"body", []string{strings.Replace(request, "\r\n\r\n", "\r\nContent-Length: 35\r\n\r\n", 1), other,
			"x" + request}, Accept, ""},
		{"after a body", []string{strings.Replace(request, "\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n", 1),
			"xxx" + other},
			Refuse, "b.test"},
		{"not HTTP", []string{"SSH-2.0-x\r\n"}, Refuse, ""},
	} {
		l := open(t, c, clientAddr, httpAddr)
		var v Verdict
		for _, p := range tc.parts {
			v = l.write(p)
			if v.Action == Accept {
				l.want(tc.what+", answer", Accept, l.reply("HTTP/1.1 200 OK\r\n"))
			}
		}
		l.want(tc.what, tc.want, v)
		if v.Name != tc.name {
			t.Errorf("%s: got name %q", tc.what, v.Name)
		}
		l.want("end", Accept, l.send(flagRST, ""))
	}

	for reply, want := range map[string]Action{"HTTP/1.1 101 Switching\r\n": Verified, "HTTP/1.1 200 OK\r\n": Accept} {
		l := open(t, c, clientAddr, httpAddr)
		l.write(strings.Replace(request, "\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n", 1))
		l.want(reply, want, l.reply(reply))
		l.send(flagRST, "")
	}
	l := open(t, c, clientAddr, httpAddr)
	l.write(strings.Replace(request, "\r\n\r\n", "\r\nUpgrade: h2c\r\n\r\n", 1))
	l.want("HTTP/2", Refuse, l.reply("HTTP/1.1 101 Switching\r\n"))
}

// TestForgedSegments sends what the server does not take, or takes otherwise. A container with raw sockets
// can do that.
func TestForgedSegments(t *testing.T) {
	c := newChecker(t, "a.test")
	good, bad := hello(t, "a.test"), hello(t, "b.test")
	for _, tc := range []struct {
		what string
		do   func(l *link) Verdict
		want Action
	}{
		{"another hello after one that was lost", func(l *link) Verdict {
			l.send(flagACK, good)
			return l.send(flagACK, bad)
		}, Refuse},
		{"other bytes in the middle", func(l *link) Verdict {
			l.write(good)
			l.client.seq -= 50
			return l.send(flagACK, strings.Repeat("x", 10))
		}, Refuse},
		{"other bytes before and after", func(l *link) Verdict {
			l.write(good)
			l.client.seq -= uint32(len(good)) + 5
			return l.send(flagACK, "12345x"+good[1:])
		}, Refuse},
		{"the same bytes again", func(l *link) Verdict {
			l.send(flagACK, good)
			return l.send(flagACK, good)
		}, Accept},
		{"the same bytes again with more", func(l *link) Verdict {
			l.send(flagACK, good[:100])
			return l.send(flagACK, good)
		}, Accept},
		{"other bytes after the acknowledgement", func(l *link) Verdict {
			l.write(good)
			l.reply("")
			l.client.seq -= uint32(len(good))
			return l.send(flagACK, bad[:10])
		}, Accept},
		{"a later part first", func(l *link) Verdict {
			l.client.seq += 10
			return l.send(flagACK, good[10:])
		}, Drop},
		{"urgent data", func(l *link) Verdict { return l.send(flagACK|flagURG, good) }, Refuse},
		{"an urgent pointer without data", func(l *link) Verdict { return l.send(flagACK|flagURG, "") }, Refuse},
		{"data by another interface", func(l *link) Verdict {
			return c.Check(Packet{Data: packet(l.client, l.server, flagACK, good), MAC: secondMAC})
		}, Drop},
		{"an answer by another interface of the container", func(l *link) Verdict {
			l.write(good)
			l.server.ack = l.client.seq
			return c.Check(Packet{Data: packet(l.server, l.client, flagACK, serverHello), MAC: secondMAC, Reply: true})
		}, Drop},
		{"an acknowledgement of the server by the container", func(l *link) Verdict {
			l.write(good)
			l.server.ack = l.client.seq
			return c.Check(Packet{Data: packet(l.server, l.client, flagACK, serverHello), MAC: clientMAC, Reply: true})
		}, Drop},
		{"an acknowledgement of what was not sent", func(l *link) Verdict {
			l.client.seq += 1000
			return l.reply(serverHello)
		}, Drop},
		{"another first packet", func(l *link) Verdict {
			l.client.seq = 7
			l.send(flagSYN, "")
			l.client.seq = 8
			return l.send(flagACK, good)
		}, Drop},
		{"the first packet again", func(l *link) Verdict {
			l.client.seq--
			return l.send(flagSYN, "")
		}, Accept},
		{"data in the first packet", func(l *link) Verdict {
			l.client.seq = 7
			return l.send(flagSYN, good)
		}, Drop},
		{"data after an end", func(l *link) Verdict {
			l.send(flagACK|flagFIN, "")
			l.server.ack = l.client.seq
			l.answer(flagACK|flagFIN, "")
			return l.send(flagACK, good)
		}, Refuse},
		{"data after a reset", func(l *link) Verdict {
			l.send(flagRST, "")
			return l.send(flagACK, good)
		}, Refuse},
		{"a fragment", func(l *link) Verdict {
			data := packet(l.client, l.server, flagACK, good)
			data[6], data[7] = 0x20, 0
			return c.Check(Packet{Data: data, MAC: clientMAC})
		}, Drop},
	} {
		l := open(t, c, clientAddr, tlsAddr)
		l.want(tc.what, tc.want, tc.do(l))
		clear(c.flows)
		clear(c.count)
	}
}

// TestUnknownConnection sends packets of a connection that began before the process.
func TestUnknownConnection(t *testing.T) {
	l := &link{t: t, checker: newChecker(t, "a.test"), client: peer{addr: netip.MustParseAddrPort(clientAddr)},
		server: peer{addr: netip.MustParseAddrPort(httpAddr)}}
	l.want("acknowledgement", Accept, l.send(flagACK, ""))
	l.want("answer", Accept, l.answer(flagACK, "x"))
	l.want("data", Refuse, l.send(flagACK, request))
	l.want("another container", Drop, l.checker.Check(Packet{Data: packet(l.client, l.server, flagSYN, ""),
		MAC: routerMAC}))
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, "a.test")
		l := open(t, c, clientAddr, httpAddr)
		l.want("kept bytes", Accept, l.write(strings.Repeat(request, 2000)))
		l.want("acknowledged", Accept, l.reply(""))
		l.want("more", Accept, l.write(strings.Repeat(request, 2000)))
		l.want("even more", Accept, l.write(strings.Repeat(request, 2000)))
		l.want("too many bytes", Refuse, l.write(strings.Repeat(request, 2000)))

		connect := func(port uint16) Verdict {
			l.client.addr = netip.AddrPortFrom(l.client.addr.Addr(), port)
			return l.send(flagSYN, "")
		}
		for port := range uint16(maxPerOwner) {
			l.want("connection", Accept, connect(port+1))
		}
		l.want("too many connections", Drop, connect(maxPerOwner+1))
		time.Sleep(idleNew + sweepEvery)
		l.want("after some time", Accept, connect(maxPerOwner+1))
		if len(c.flows) != 1 || c.count["box"] != 1 {
			t.Errorf("%d connections are left", len(c.flows))
		}
	})
}

func FuzzCheck(f *testing.F) {
	l := &link{client: peer{addr: netip.MustParseAddrPort(clientAddr)},
		server: peer{addr: netip.MustParseAddrPort(tlsAddr)}}
	f.Add(packet(l.client, l.server, flagSYN, ""), packet(l.client, l.server, flagACK, "x"), false)
	f.Fuzz(func(t *testing.T, first, second []byte, reply bool) {
		c := newChecker(t, "a.test")
		c.Check(Packet{Data: first, MAC: clientMAC})
		c.Check(Packet{Data: second, MAC: clientMAC, Reply: reply})
	})
}
