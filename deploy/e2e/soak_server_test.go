package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/quic"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// Names and addresses of a soak test. The last number of an address is the same in both families.
const (
	soakName   = "soak.test."   // of soakOne
	soakBelow  = ".two.test."   // suffix of the names of soakTwo
	soakNear   = "near.test"    // a neighbour on the addresses of soakName
	soakSecret = "secret.test." // no policy allows it

	soakFirst    = 10 // of soakName
	soakTwoFirst = 50 // of soakBelow
	soakEach     = 40 // addresses of each
	soakOther    = 99 // without a name

	soakNetwork4 = "198.51.100."
	soakNetwork6 = "2001:db8:5::"
)

// serve starts the servers until ctx ends: a name server, and servers for TCP, TLS, HTTP and QUIC on the client, and
// two for TCP in soakWeb.
func (s *soak) serve(ctx context.Context) error {
	certificate, err := soakCertificate()
	if err != nil {
		return err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s.expectName("server name", hello.ServerName)
			return nil, nil
		}}
	return errors.Join(s.serveNames(ctx), s.serveQUIC(ctx, secure),
		s.serveTCP(ctx, s.Client, ":8080", echoAll),
		s.serveTCP(ctx, s.boxes[soakWeb], ":8080", echoAll),
		s.serveTCP(ctx, s.boxes[soakWeb], ":8081", echoAll),
		s.serveTCP(ctx, s.Client, ":443", func(l net.Listener) { echoAll(tls.NewListener(l, secure)) }),
		s.serveTCP(ctx, s.Client, ":80", s.serveHTTP))
}

// soakCertificate returns a certificate that clients do not verify.
func soakCertificate() (tls.Certificate, error) {
	key := newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// expectName records a fault if a server is asked for another name than that of the policy.
func (s *soak) expectName(what, name string) {
	if name+"." != soakName {
		s.fault("a server got the %s %q", what, name)
	}
}

// serveTCP serves a port of a machine until ctx ends.
func (s *soak) serveTCP(ctx context.Context, m *lab.Machine, address string, serve func(net.Listener)) error {
	l, err := m.Listen("tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go serve(l)
	return nil
}

// echoAll returns what clients send until the listener is closed.
func echoAll(l net.Listener) {
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
}

// serveHTTP accepts all requests until the listener is closed.
func (s *soak) serveHTTP(l net.Listener) {
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.expectName("host", r.Host) })}
	_ = server.Serve(l)
}

// serveQUIC returns what clients send until ctx ends. Each address has a socket: with one for all, answers would have
// another source address.
func (s *soak) serveQUIC(ctx context.Context, secure *tls.Config) error {
	var errs []error
	for i := soakFirst; i < soakFirst+soakEach; i++ {
		errs = append(errs, s.serveQUICOn(ctx, soakAddress(false, i), secure),
			s.serveQUICOn(ctx, soakAddress(true, i), secure))
	}
	return errors.Join(errs...)
}

func (s *soak) serveQUICOn(ctx context.Context, ip string, secure *tls.Config) error {
	conn, err := s.Client.ListenPacket("udp", net.JoinHostPort(ip, "443"))
	if err != nil {
		return err
	}
	e, err := quic.NewEndpoint(conn, &quic.Config{TLSConfig: secure, HandshakeTimeout: time.Minute,
		MaxIdleTimeout: time.Minute})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	context.AfterFunc(ctx, func() { _ = e.Close(ctx) })
	go func() {
		for {
			c, err := e.Accept(ctx)
			if err != nil {
				return
			}
			go echoStreams(ctx, c)
		}
	}()
	return nil
}

// echoStreams returns what a client sends on its streams.
func echoStreams(ctx context.Context, c *quic.Conn) {
	for {
		stream, err := c.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = stream.Close() }()
			for {
				b, err := stream.ReadByte()
				if err != nil || stream.WriteByte(b) != nil || stream.Flush() != nil {
					return
				}
			}
		}()
	}
}

// serveNames starts the name server until ctx ends.
func (s *soak) serveNames(ctx context.Context) error {
	questions, err := s.Client.ListenPacket("udp", lab.ClientIPv4+":53")
	if err != nil {
		return err
	}
	names := &dns.Server{PacketConn: questions, Handler: dns.HandlerFunc(s.answer)}
	context.AfterFunc(ctx, func() { _ = questions.Close() })
	go func() { _ = names.ActivateAndServe() }()
	return nil
}

// answer returns two random addresses of a name with a TTL of a second.
func (s *soak) answer(w dns.ResponseWriter, q *dns.Msg) {
	m, asked := new(dns.Msg).SetReply(q), q.Question[0]
	first := soakFirst
	switch name := strings.ToLower(asked.Name); {
	case strings.HasSuffix(name, soakBelow):
		first = soakTwoFirst
	case name != soakName:
		s.fault("the name server was asked for %s", asked.Name)
		return
	}
	header := dns.RR_Header{Name: asked.Name, Rrtype: asked.Qtype, Class: dns.ClassINET, Ttl: 1}
	for range 2 {
		switch ip := soakAddress(asked.Qtype == dns.TypeAAAA, first+rand.IntN(soakEach)); asked.Qtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{A: net.ParseIP(ip), Hdr: header})
		case dns.TypeAAAA:
			m.Answer = append(m.Answer, &dns.AAAA{AAAA: net.ParseIP(ip), Hdr: header})
		}
	}
	_ = w.WriteMsg(m)
}

// soakAddress returns an address of the servers.
func soakAddress(v6 bool, last int) string {
	if v6 {
		return fmt.Sprint(soakNetwork6, last)
	}
	return fmt.Sprint(soakNetwork4, last)
}
