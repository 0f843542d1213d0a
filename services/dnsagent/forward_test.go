package dnsagent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

// authority is a certificate authority of a test.
type authority struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	roots *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, roots: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	data, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.roots.AddCert(a.cert)
	return a
}

// issue returns the certificate of a server with a name and the loopback address.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	data, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}

// nameServer is a server with one address for all questions, over UDP and TCP, or over TLS.
type nameServer struct {
	at string

	mu    sync.Mutex
	open  []net.Conn
	count int // accepted connections
}

func (s *nameServer) accepted(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.count = append(s.open, c), s.count+1
}

func (s *nameServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// hangUp closes all connections.
func (s *nameServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

// countingListener reports accepted connections.
type countingListener struct {
	net.Listener
	server *nameServer
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.server.accepted(c)
	}
	return c, err
}

// newNameServer starts a server. Without a certificate it serves UDP and TCP.
func newNameServer(t *testing.T, address string, cert *tls.Certificate) *nameServer {
	t.Helper()
	s := &nameServer{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		out := new(dns.Msg).SetReply(q)
		out.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA,
			Class: dns.ClassINET, Ttl: 0}, A: net.ParseIP(address)}} // not cached
		_ = w.WriteMsg(out)
	})
	run := func(server *dns.Server) {
		started, ended := make(chan struct{}), make(chan error, 1)
		server.Handler, server.NotifyStartedFunc = handler, func() { close(started) }
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { s.hangUp(); _ = server.Shutdown(); <-ended })
	}

	for range 100 {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.at = tcp.Addr().String()
		counting := net.Listener(countingListener{tcp, s})
		if cert != nil {
			run(&dns.Server{ReadTimeout: time.Minute,
				Listener: tls.NewListener(counting, &tls.Config{Certificates: []tls.Certificate{*cert}})})
			return s
		}
		if udp, err := net.ListenPacket("udp4", s.at); err == nil {
			run(&dns.Server{Listener: counting})
			run(&dns.Server{PacketConn: udp})
			return s
		}
		_ = tcp.Close()
	}
	t.Fatal("no free port")
	return nil
}

func forward(t *testing.T, text string) dnsrecord.Forward {
	t.Helper()
	f, err := dnsrecord.ParseForward(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestForwardsOverUDPTCPAndTLS(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue("dns.corp")
	plain, secure := newNameServer(t, "10.0.0.1", nil), newNameServer(t, "10.0.0.2", &cert)
	foreign := newAuthority(t).issue("dns.corp")
	inner, untrusted := newNameServer(t, "10.0.0.3", nil), newNameServer(t, "10.0.0.4", &foreign)
	host := outside(t, "127.9.0.57")

	m := newMachine(t)
	k := m.keeper(t)
	m.write("host/etc/resolv.conf", "nameserver 127.9.0.57\n")
	cfg := m.config()
	cfg.Roots = ca.roots
	var log lockedBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Forwards = []dnsrecord.Forward{forward(t, "plain.test "+plain.at),
		forward(t, "secure.test tls://"+secure.at+"#dns.corp"), forward(t, "address.test tls://"+secure.at),
		forward(t, "other.test tls://"+secure.at+"#dns.other"), forward(t,
			"untrusted.test tls://"+untrusted.at+"#dns.corp"),
		forward(t, "second.test tls://"+secure.at+"#dns.other "+plain.at),
		forward(t, "network=inside sub.plain.test "+inner.at), forward(t, "network=inside inner.test "+inner.at)}
	svc, err := dnsagent.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, disconnect := connect(t, svc)
	defer func() {
		disconnect()
		_ = svc.Close()
	}()

	open, closed, both := id.New(), id.New(), id.New()
	register(t, client, onNetworks(open, "front 10.1.0.2 open"))
	isolated := onNetworks(closed, "inside 10.3.0.2 closed")
	isolated.Networks[0].Internal = true
	register(t, client, isolated)
	register(t, client, onNetworks(both, "front 10.1.0.3 both", "inside 10.3.0.3 both"))

	for _, c := range []struct{ owner, name, want string }{
		{open, "plain.test", "10.0.0.1"}, {open, "a.b.plain.test", "10.0.0.1"}, {open, "xplain.test", "1.2.3.4"},
		{open, "A.Secure.Test", "10.0.0.2"}, {open, "address.test", "10.0.0.2"}, {open, "other.test", "SERVFAIL"},
		{open, "untrusted.test", "SERVFAIL"}, {open, "second.test", "10.0.0.1"},
		{open, "sub.plain.test", "10.0.0.1"}, {open, "inner.test", "1.2.3.4"},
		// A container on internal networks only asks no server of the host, but those of its network.
		{closed, "plain.test", "SERVFAIL"}, {closed, "secure.test", "SERVFAIL"}, {closed, "inner.test", "10.0.0.3"},
		{both, "plain.test", "10.0.0.1"}, {both, "x.sub.plain.test", "10.0.0.3"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := k.ask(network, c.owner, c.name); got != c.want {
				t.Errorf("%s over %s: got %s, want %s", c.name, network, got, c.want)
			}
		}
	}
	if n := host.Load(); n == 0 || n > 4 {
		t.Errorf("got %d questions at the host's server, want those of two names", n)
	}

	if text := log.String(); !strings.Contains(text, "not dns.other") || !strings.Contains(text, "unknown authority") {
		t.Errorf("got log %s, want a warning for each wrong certificate", text)
	}

	// Connections over TLS are kept, and replaced after the server closed them.
	before := secure.connections()
	for range 10 {
		if got := k.ask("udp", open, "secure.test"); got != "10.0.0.2" {
			t.Errorf("got %s", got)
		}
	}
	if n := secure.connections() - before; n > 1 {
		t.Errorf("got %d connections for 10 sequential questions", n)
	}
	for range 3 {
		secure.hangUp()
		if got := k.ask("udp", open, "secure.test"); got != "10.0.0.2" {
			t.Errorf("after the server closed its connections: got %s", got)
		}
	}
	var all sync.WaitGroup
	for range 80 {
		all.Go(func() {
			if got := k.ask("udp", open, "secure.test"); got != "10.0.0.2" {
				t.Errorf("concurrently: got %s", got)
			}
		})
	}
	all.Wait()
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu  sync.Mutex
	out strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}
