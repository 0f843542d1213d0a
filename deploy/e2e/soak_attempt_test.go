package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/quic"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// soakTry limits an attempt.
const soakTry = time.Second

// soakAttempt is something that the policies do not allow. do returns nil if it was possible.
type soakAttempt struct {
	what string
	do   func(context.Context) error
}

// attempts returns what the policies do not allow.
func (s *soak) attempts() []soakAttempt {
	one, two, web := s.boxes[soakOne], s.boxes[soakTwo], s.boxes[soakWeb]
	fixed := func(address string) func() string { return func() string { return address } }
	v4 := func(last int, port string) func() string { return fixed(soakAddress(false, last) + ":" + port) }
	named := func(v6 bool, port string) func() string {
		return func() string { return net.JoinHostPort(soakAddress(v6, soakFirst+rand.IntN(soakEach)), port) }
	}
	published := func(port string) func() string { return fixed(net.JoinHostPort(lab.HostIPv4, port)) }
	return []soakAttempt{
		{"an address without a name", dialSoak(one, v4(soakOther, "8080"))},
		{"an address without a name over IPv6", dialSoak(one, fixed("["+soakAddress(true, soakOther)+"]:8080"))},
		{"another port", dialSoak(one, named(false, "8081"))},
		{"UDP to an address without a name", sendSoak(one, v4(soakOther, "8080"))},
		{"an address that another container has resolved", dialSoak(two, named(false, "8080"))},
		{"the same over IPv6", dialSoak(two, named(true, "8080"))},
		{"a server from a container with --egress none", dialSoak(web, named(false, "8080"))},
		{"incoming connection of a container", dialSoak(two, fixed(net.JoinHostPort(s.web[0], "8080")))},
		{"incoming connection of a container over IPv6", dialSoak(two, fixed(net.JoinHostPort(s.web[1], "8080")))},
		{"incoming connection of the host", dialSoak(s.Host, fixed(net.JoinHostPort(s.web[0], "8080")))},
		{"incoming connection to another published port", dialSoak(s.Client, published("8081"))},
		{"a name that is not allowed", s.askSecret("127.0.0.11:53")},
		{"another name server", s.askSecret(lab.ClientIPv4 + ":53")},
		{"the name of a neighbour in TLS", s.nearTLS},
		{"the name of a neighbour in HTTP", s.nearHTTP},
		{"the name of a neighbour in QUIC", s.nearQUIC},
	}
}

// startAttempts repeats all attempts until ctx ends.
func (s *soak) startAttempts(ctx context.Context, all *sync.WaitGroup) {
	for _, a := range s.attempts() {
		all.Go(func() {
			s.repeat(ctx, 800*time.Millisecond, func(ctx context.Context) {
				s.count("attempts in vain")
				if a.do(ctx) == nil {
					s.fault("%s was possible", a.what)
				}
			})
		})
	}
}

// dialSoak returns an attempt to connect.
func dialSoak(from *lab.Machine, address func() string) func(context.Context) error {
	return func(context.Context) error {
		c, err := from.Dial("tcp", address(), soakTry)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

// sendSoak returns an attempt to send a datagram. The script counts those that arrive.
func sendSoak(from *lab.Machine, address func() string) func(context.Context) error {
	return func(context.Context) error {
		c, err := from.Dial("udp", address(), soakTry)
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("x"))
		_ = c.Close()
		return errSoakOver
	}
}

// askSecret returns an attempt to ask a name server, over UDP and TCP, for a name that no container may ask for.
func (s *soak) askSecret(server string) func(context.Context) error {
	return func(context.Context) error {
		network := []string{"udp", "tcp"}[rand.IntN(2)]
		c, err := s.boxes[soakOne].Dial(network, server, soakTry)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(soakTry))
		conn := dns.Conn{Conn: c}
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(soakSecret, dns.TypeA)); err != nil {
			return err
		}
		if m, err := conn.ReadMsg(); err != nil || m.Rcode != dns.RcodeSuccess {
			return errSoakOver
		}
		return nil
	}
}

// near connects to an address with the name soakName.
func (s *soak) near(port uint16) (net.Conn, error) {
	a := netip.MustParseAddr(soakAddress(rand.IntN(2) == 0, soakFirst+rand.IntN(soakEach)))
	c, err := s.boxes[soakOne].Dial("tcp", netip.AddrPortFrom(a, port).String(), soakTry)
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(2 * soakTry))
	}
	return c, err
}

func (s *soak) nearTLS(ctx context.Context) error {
	c, err := s.near(443)
	if err != nil {
		return err
	}
	defer c.Close()
	return soakTLS(c, soakNear).HandshakeContext(ctx)
}

func (s *soak) nearHTTP(ctx context.Context) error {
	c, err := s.near(80)
	if err != nil {
		return err
	}
	defer c.Close()
	return askSoak(ctx, c, soakNear)
}

func (s *soak) nearQUIC(ctx context.Context) error {
	to := net.JoinHostPort(soakAddress(rand.IntN(2) == 0, soakFirst+rand.IntN(soakEach)), "443")
	ctx, cancel := context.WithTimeout(ctx, 2*soakTry)
	defer cancel()
	return s.withQUIC(ctx, to, soakNear, soakTry, func(*quic.Conn) error { return nil })
}

// soakRefusal is a line of `fairlead denied`.
type soakRefusal struct {
	Container, Reason, Protocol, Address, Name string
	Port                                       uint16
	Incoming                                   bool
}

// readRefusals checks that no refusal is recorded of what the policies allow. The command fails while an agent is
// away; the next call reads what it has missed.
func (s *soak) readRefusals(ctx context.Context) {
	out, err := s.agent.CLI(ctx, "denied", "--format", "json", "--since", "2m")
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		line := lines.Text()
		var r soakRefusal
		if s.isSeen(line) || json.Unmarshal([]byte(line), &r) != nil {
			continue
		}
		switch wrong, interrupted := r.isFalse(s.web); {
		case interrupted:
			s.count("records of handshakes that natagent did not see begin")
		case wrong:
			s.fault("recorded refusal: %s", line)
		default:
			s.count("recorded refusals")
		}
	}
}

// isSeen reports whether a line was read before.
func (s *soak) isSeen(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.seen[line]
	s.seen[line] = true
	return was
}

// isFalse reports whether the policies allow what was refused. interrupted means that natagent was killed during a
// handshake whose name it does not know.
func (r soakRefusal) isFalse(web []string) (wrong, interrupted bool) {
	switch r.Container {
	case soakWeb:
		return r.Incoming && r.Port == 8080 && r.Address == lab.ClientIPv4, false
	case soakTwo:
		return r.Reason == "name" || isSoakAddress(r.Address, soakTwoFirst) && r.Port == 8080, false
	}
	switch {
	case r.Reason == "name":
		return r.Name+"." == soakName, false
	case r.Reason == "server":
		return r.Name != "" && r.Name != soakNear, r.Name == ""
	case r.Address == web[0] || r.Address == web[1]:
		return r.Port == 8080, false
	}
	return isSoakAddress(r.Address, soakFirst) && r.Port == 8080, false
}

// isSoakAddress reports whether an address is one of a name.
func isSoakAddress(text string, first int) bool {
	for i := first; i < first+soakEach; i++ {
		if text == soakAddress(false, i) || text == soakAddress(true, i) {
			return true
		}
	}
	return false
}
