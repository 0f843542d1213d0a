package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/quic"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	soakWait   = 40 * time.Second // for a connection; addresses stay open for longer
	soakSecond = time.Second      // between two bytes of a connection that stays open
)

// Errors of uses.
var (
	errSoakName = errors.New("no answer, as an agent is away")
	errSoakOver = errors.New("the soak test ends")
)

// soakUse is something that the policy allows.
type soakUse struct {
	what string
	// waits means that natagent checks packets: an attempt can fail if it is killed meanwhile.
	waits bool
	long  bool // connections stay open
	do    func(context.Context) error
}

// uses returns what the policies allow.
func (s *soak) uses() []soakUse {
	below := func() string { return fmt.Sprint("n", rand.IntN(300), soakBelow) }
	named := func() string { return soakName }
	short, long := soakLife(0), soakLife(70*time.Second)
	web := func(box *lab.Machine, address string) func(context.Context) error {
		return func(ctx context.Context) error {
			c, err := box.Dial("tcp", address, soakWait)
			return s.exchange(ctx, c, err, short)
		}
	}
	return []soakUse{
		{"TCP connections", false, false, s.plain(soakOne, named, short)},
		{"TCP connections of the other container", false, false, s.plain(soakTwo, below, short)},
		{"TCP connections longer than the TTL", false, true, s.plain(soakOne, named, long)},
		{"TLS connections", true, false, s.secure(short)},
		{"TLS connections longer than the TTL", true, true, s.secure(long)},
		{"HTTP requests", true, false, s.request},
		{"QUIC connections", true, false, s.datagrams(short)},
		{"QUIC connections longer than the TTL", true, true, s.datagrams(long)},
		{"incoming connections of a container", false, false,
			web(s.boxes[soakOne], net.JoinHostPort(s.web[0], "8080"))},
		{"incoming connections of a container over IPv6", false, false,
			web(s.boxes[soakOne], net.JoinHostPort(s.web[1], "8080"))},
		{"incoming connections to a published port", false, false, web(s.Client, lab.HostIPv4+":8080")},
	}
}

// soakLife returns a function that returns how long a connection stays open.
func soakLife(least time.Duration) func() time.Duration {
	return func() time.Duration {
		if least == 0 {
			return 0
		}
		return least + time.Duration(rand.Int64N(int64(2*least)))
	}
}

// startUses repeats all uses until ctx ends.
func (s *soak) startUses(ctx context.Context, all *sync.WaitGroup) {
	const longWorkers = 5 // at the same time
	for _, u := range s.uses() {
		for range map[bool]int{false: 1, true: longWorkers}[u.long] {
			failures := 0
			all.Go(func() {
				s.repeat(ctx, 400*time.Millisecond, func(ctx context.Context) { s.use(ctx, u, &failures) })
			})
		}
	}
}

// use does something that the policy allows. If it fails in a row although natagent comes back, it is refused.
func (s *soak) use(ctx context.Context, u soakUse, failures *int) {
	const inRow = 5
	away := s.away.Load()
	err := u.do(ctx)
	switch {
	case err == nil:
		*failures = 0
		s.count(u.what)
	case ctx.Err() != nil || errors.Is(err, errSoakOver): // the servers are closed
	case errors.Is(err, errSoakName):
		s.count("questions without an answer")
	case u.waits && (away%2 == 1 || s.away.Load() != away) && *failures < inRow:
		*failures++
		s.count(u.what + ", interrupted by a kill of natagent")
	default:
		s.fault("%s: %v", u.what, err)
	}
}

// resolve returns the addresses of a name.
func (s *soak) resolve(ctx context.Context, box, name string) ([]netip.Addr, error) {
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return s.boxes[box].Dial("udp", "127.0.0.11:53", time.Second)
	}}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addresses, err := resolver.LookupNetIP(ctx, "ip", name)
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		return nil, err
	}
	if err != nil {
		return nil, errSoakName
	}
	return addresses, nil
}

// plain returns a use that resolves a name and connects to all of its addresses.
func (s *soak) plain(box string, name func() string, life func() time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		addresses, err := s.resolve(ctx, box, name())
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		errs := make([]error, len(addresses))
		for i, a := range addresses {
			all.Go(func() {
				c, err := s.boxes[box].Dial("tcp", netip.AddrPortFrom(a, 8080).String(), soakWait)
				errs[i] = s.exchange(ctx, c, err, life)
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}
}

// secure returns a use with TLS.
func (s *soak) secure(life func() time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		raw, err := s.dialNamed(ctx, 443)
		if err != nil {
			return err
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(soakWait))
		c := soakTLS(raw, soakName)
		if err := c.HandshakeContext(ctx); err != nil {
			return err
		}
		return s.exchange(ctx, c, nil, life)
	}
}

// soakTLS returns a TLS client that asks for a name.
func soakTLS(raw net.Conn, name string) *tls.Conn { return tls.Client(raw, soakClientTLS(name)) }

func soakClientTLS(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
}

// dialNamed resolves soakName and connects to one of its addresses.
func (s *soak) dialNamed(ctx context.Context, port uint16) (net.Conn, error) {
	addresses, err := s.resolve(ctx, soakOne, soakName)
	if err != nil {
		return nil, err
	}
	a := addresses[rand.IntN(len(addresses))]
	return s.boxes[soakOne].Dial("tcp", netip.AddrPortFrom(a, port).String(), soakWait)
}

// request sends an HTTP request.
func (s *soak) request(ctx context.Context) error {
	c, err := s.dialNamed(ctx, 80)
	if err != nil {
		return err
	}
	defer c.Close()
	return askSoak(ctx, c, strings.TrimSuffix(soakName, "."))
}

// askSoak sends an HTTP request for a host on a connection.
func askSoak(ctx context.Context, c net.Conn, host string) error {
	ctx, cancel := context.WithTimeout(ctx, soakWait)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// exchange sends bytes on a connection, which the server returns, at least one. Once a byte has returned the connection
// must not end.
func (s *soak) exchange(ctx context.Context, c net.Conn, err error, life func() time.Duration) error {
	if err != nil {
		return err
	}
	defer c.Close()
	return s.converse(ctx, fmt.Sprint("connection to ", c.RemoteAddr()), life(), func() error {
		_ = c.SetDeadline(time.Now().Add(soakWait))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	})
}

// converse calls echo at least once, and then every second. Only the first call may fail.
func (s *soak) converse(ctx context.Context, what string, life time.Duration, echo func() error) error {
	if err := echo(); err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < life; {
		select {
		case <-ctx.Done():
			return errSoakOver
		case <-time.After(soakSecond):
		}
		if err := echo(); err != nil && ctx.Err() == nil {
			s.fault("open %s broke after %s: %v", what, time.Since(start).Round(time.Second), err)
			return errSoakOver
		}
	}
	return nil
}

// datagrams returns a use with QUIC.
func (s *soak) datagrams(life func() time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		addresses, err := s.resolve(ctx, soakOne, soakName)
		if err != nil {
			return err
		}
		to := netip.AddrPortFrom(addresses[rand.IntN(len(addresses))], 443).String()
		return s.withQUIC(ctx, to, soakName, soakWait, func(c *quic.Conn) error {
			stream, err := c.NewStream(ctx)
			if err != nil {
				return err
			}
			return s.converse(ctx, "QUIC connection to "+to, life(), func() error {
				wait, cancel := context.WithTimeout(ctx, soakWait)
				defer cancel()
				stream.SetReadContext(wait)
				stream.SetWriteContext(wait)
				if err := errors.Join(stream.WriteByte('x'), stream.Flush()); err != nil {
					return err
				}
				_, err := stream.ReadByte()
				return err
			})
		})
	}
}

// withQUIC calls do with a QUIC connection of soakOne.
func (s *soak) withQUIC(ctx context.Context, to, name string, wait time.Duration, do func(*quic.Conn) error) error {
	box := s.boxes[soakOne]
	probe, err := box.Dial("udp", to, time.Second)
	if err != nil {
		return err
	}
	own, _, _ := net.SplitHostPort(probe.LocalAddr().String())
	_ = probe.Close()
	socket, err := box.ListenPacket("udp", net.JoinHostPort(own, "0"))
	if err != nil {
		return err
	}
	config := &quic.Config{TLSConfig: soakClientTLS(name), HandshakeTimeout: wait, MaxIdleTimeout: time.Minute}
	e, err := quic.NewEndpoint(socket, config)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer func() {
		ended, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.Close(ended)
	}()
	c, err := e.Dial(ctx, "udp", to, config)
	if err != nil {
		return err
	}
	return do(c)
}
