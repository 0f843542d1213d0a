package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const fleet = "0123456789abcdef"

func newAuthority(t *testing.T) Authority {
	t.Helper()
	a, err := NewAuthority(fleet, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sign issues a certificate with a new key.
func sign(t *testing.T, a Authority, who Identity) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(request, who, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, HostLife, now)
	if err != nil {
		t.Fatal(err)
	}
	return cert, tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func TestSignedIdentityIsVerified(t *testing.T) {
	a := newAuthority(t)
	for _, role := range []Role{Member, Manager, Operator} {
		want := Identity{Fleet: fleet, Role: role, Host: "h1"}
		cert, _ := sign(t, a, want)
		got, err := Verify([][]byte{cert.Raw}, a.Cert, now)
		if err != nil || got != want {
			t.Errorf("%s: got %v, error %v", role, got, err)
		}
		if renew := RenewAt(cert); renew != now.Add(HostLife/2) {
			t.Errorf("got renewal at %s, want half of the life", renew)
		}
	}
}

func TestVerifyRefusesOthers(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	cert, _ := sign(t, a, Identity{Fleet: fleet, Role: Member, Host: "h1"})
	foreign, _ := sign(t, other, Identity{Fleet: fleet, Role: Manager, Host: "h1"})
	for name, c := range map[string]struct {
		raw  [][]byte
		at   time.Time
		want string
	}{
		"no certificate": {nil, now, "has no certificate"},
		"garbage":        {[][]byte{{1, 2}}, now, "cannot be read"},
		"another CA":     {[][]byte{foreign.Raw}, now, "was not issued by this fleet"},
		"expired":        {[][]byte{cert.Raw}, now.Add(25 * time.Hour), "expired 1h0m0s ago"},
		"clock behind": {[][]byte{cert.Raw}, now.Add(-65 * time.Minute),
			"the local clock is behind by at least 1h0m0s"},
		"the CA itself":   {[][]byte{a.Cert.Raw}, now, "unknown identity"},
		"followed by own": {[][]byte{foreign.Raw, cert.Raw}, now, "was not issued by this fleet"},
	} {
		who, err := Verify(c.raw, a.Cert, c.at)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: got %v, error %v, want one with %q", name, who, err, c.want)
		}
	}
}

func TestSignIgnoresNamesInRequests(t *testing.T) {
	a := newAuthority(t)
	key, _ := NewKey()
	request, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{DNSNames: []string{"evil"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 66)}}, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(request, Identity{Fleet: fleet, Role: Member, Host: "h1"}, nil, HostLife, now)
	if err != nil || len(cert.DNSNames) != 0 || len(cert.IPAddresses) != 0 || cert.IsCA {
		t.Errorf("got names %v, addresses %v, error %v", cert.DNSNames, cert.IPAddresses, err)
	}
}

func TestSignRefusesBadRequests(t *testing.T) {
	a := newAuthority(t)
	key, _ := NewKey()
	good, _ := NewRequest(key)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ofRSA, _ := NewRequest(weak)
	broken := bytes.Clone(good)
	broken[len(broken)-1] ^= 1
	who := Identity{Fleet: fleet, Role: Member, Host: "h1"}
	for name, c := range map[string]struct {
		request []byte
		who     Identity
	}{
		"empty": {nil, who}, "cut": {good[:20], who}, "signature": {broken, who}, "RSA": {ofRSA, who},
		"other fleet": {good, Identity{Fleet: "x", Role: Member, Host: "h1"}},
		"no role":     {good, Identity{Fleet: fleet, Host: "h1"}},
	} {
		if cert, err := a.Sign(c.request, c.who, nil, HostLife, now); err == nil {
			t.Errorf("%s: got a certificate for %s", name, cert.Subject)
		}
	}
}

func TestPEMRoundTrip(t *testing.T) {
	a := newAuthority(t)
	text, err := EncodeKey(a.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := DecodeKey(text, "ca.key")
	if err != nil || !key.Equal(a.Key) {
		t.Errorf("key: error %v", err)
	}
	cert, err := DecodeCert(EncodeCert(a.Cert), "ca.crt")
	if err != nil || !cert.Equal(a.Cert) || Digest(cert) != Digest(a.Cert) {
		t.Errorf("certificate: error %v", err)
	}

	for _, data := range [][]byte{nil, []byte("x"), text} {
		if _, err := DecodeCert(data, "ca.crt"); err == nil || !strings.HasPrefix(err.Error(), "ca.crt: ") {
			t.Errorf("got error %v for a broken certificate", err)
		}
	}
	if _, err := DecodeKey(EncodeCert(a.Cert), "ca.key"); err == nil || !strings.HasPrefix(err.Error(), "ca.key: ") {
		t.Errorf("got error %v for a broken key", err)
	}
}

func TestHostsConnectByTLS(t *testing.T) {
	a := newAuthority(t)
	_, server := sign(t, a, Identity{Fleet: fleet, Role: Manager, Host: "h1"})
	_, client := sign(t, a, Identity{Fleet: fleet, Role: Member, Host: "h2"})
	clock := func() time.Time { return now }

	one, two := net.Pipe()
	defer one.Close()
	defer two.Close()
	failed := make(chan error, 1)
	go func() {
		failed <- tls.Server(one, ServerConfig(a.Cert, func() *tls.Certificate { return &server }, true,
			clock)).Handshake()
	}()
	own := func() *tls.Certificate { return &client }
	conn := tls.Client(two, ClientConfig(a.Cert, own, Expected{Host: "h1"}, clock))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func TestClientRefusesAnotherHost(t *testing.T) {
	a := newAuthority(t)
	_, server := sign(t, a, Identity{Fleet: fleet, Role: Manager, Host: "h1"})
	one, two := net.Pipe()
	go func() {
		_ = tls.Server(one, ServerConfig(a.Cert, func() *tls.Certificate { return &server }, false,
			func() time.Time { return now })).Handshake()
		_ = one.Close()
	}()
	defer two.Close()
	err := tls.Client(two, ClientConfig(a.Cert, func() *tls.Certificate { return nil }, Expected{Host: "h3"},
		func() time.Time { return now })).Handshake()
	if err == nil || !strings.Contains(err.Error(), "is host h1, not h3") {
		t.Errorf("got error %v", err)
	}
}
