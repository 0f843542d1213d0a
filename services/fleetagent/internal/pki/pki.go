// Package pki makes and checks the certificates of a fleet.
//
// A fleet has one certificate authority. Its key is on the managers only. Each host has a key that
// never leaves it and a certificate for a day, renewed at half of its life. The identity in a
// certificate is a SPIFFE ID: spiffe://FLEET/ROLE/HOST. The package stores nothing and opens no
// connection. It is used by fleetagent.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lifetimes of certificates.
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	HostLife      = 24 * time.Hour
	// backdate makes a new certificate valid for hosts whose clock is slightly behind.
	backdate = 5 * time.Minute
)

// Role says what the holder of a certificate may do.
type Role string

// The roles.
const (
	Member   Role = "member"   // a host: may act on its own records
	Manager  Role = "manager"  // a host: may also command other hosts and admit new ones
	Operator Role = "operator" // a person: may command hosts
)

func (r Role) valid() bool { return r == Member || r == Manager || r == Operator }

// Identity is the identity in a certificate.
type Identity struct {
	Fleet string
	Role  Role
	Host  string // the ID of the host, or the name of an operator
}

// String returns the SPIFFE ID.
func (i Identity) String() string { return i.url().String() }

func (i Identity) url() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: i.Fleet, Path: "/" + string(i.Role) + "/" + i.Host}
}

// ParseIdentity returns the identity in a certificate that has been verified.
func ParseIdentity(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return Identity{}, fault.New(fault.Denied, "certificate "+cert.Subject.String(), "has no fleet identity")
	}
	role, host, ok := strings.Cut(strings.TrimPrefix(cert.URIs[0].Path, "/"), "/")
	i := Identity{Fleet: cert.URIs[0].Host, Role: Role(role), Host: host}
	if !ok || !i.Role.valid() || i.Fleet == "" || i.Host == "" || strings.Contains(i.Host, "/") {
		return Identity{}, fault.New(fault.Denied, "certificate "+cert.URIs[0].String(), "has an unknown identity")
	}
	return i, nil
}

// Authority is a certificate authority.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewAuthority returns the authority of a new fleet.
func NewAuthority(fleet string, now time.Time) (Authority, error) {
	key, err := NewKey()
	if err != nil {
		return Authority{}, err
	}

	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Fairlead fleet " + short(fleet)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:     []*url.URL{{Scheme: "spiffe", Host: fleet}},
	}
	cert, err := create(template, template, &key.PublicKey, key)
	return Authority{Cert: cert, Key: key}, err
}

// Digest returns the digest of a certificate, which a join token contains.
func Digest(cert *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(cert.Raw) }

// Fleet returns the ID of the authority's fleet.
func (a Authority) Fleet() string {
	if len(a.Cert.URIs) != 1 {
		return ""
	}
	return a.Cert.URIs[0].Host
}

// Sign issues a certificate for the key of a request. The identity and the addresses are the
// authority's decision; the request contributes its key only.
func (a Authority) Sign(request []byte, who Identity, addresses []netip.Addr, life time.Duration, now time.Time) (
	*x509.Certificate, error) {
	parsed, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = parsed.CheckSignature()
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "certificate request", "cannot be read", fault.WithCause(err))
	}
	if key, ok := parsed.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, fault.New(fault.Invalid, "certificate request", "does not have a key on curve P-256")
	}
	if !who.Role.valid() || who.Host == "" || who.Fleet != a.Fleet() {
		return nil, fault.New(fault.Internal, "certificate of "+who.String(), "is not of this fleet")
	}

	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: who.Host, Organization: []string{string(who.Role)}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{who.url()},
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, address.Unmap().AsSlice())
	}
	return create(template, a.Cert, parsed.PublicKey, a.Key)
}

// Verify checks that a chain of certificates was issued by the authority's certificate for a host
// or a person of its fleet, and returns the identity.
func Verify(raw [][]byte, authority *x509.Certificate, now time.Time) (Identity, error) {
	if len(raw) == 0 {
		return Identity{}, fault.New(fault.Denied, "connection", "has no certificate")
	}
	leaf, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return Identity{}, fault.New(fault.Denied, "certificate", "cannot be read", fault.WithCause(err))
	}

	roots := x509.NewCertPool()
	roots.AddCert(authority)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return Identity{}, refused(leaf, err, now)
	}

	who, err := ParseIdentity(leaf)
	if err == nil && (len(authority.URIs) != 1 || who.Fleet != authority.URIs[0].Host) {
		err = fault.New(fault.Denied, "certificate "+who.String(), "is of another fleet")
	}
	return who, err
}

// refused explains why a certificate is not accepted. A certificate that is not yet valid or has
// expired often means a wrong clock, so the difference is named.
func refused(leaf *x509.Certificate, err error, now time.Time) error {
	subject := "certificate of " + leaf.Subject.CommonName
	switch {
	case now.Before(leaf.NotBefore):
		return fault.New(fault.Denied, subject,
			fmt.Sprintf("is not valid yet: the local clock is behind by at least %s",
				leaf.NotBefore.Sub(now).Round(time.Second)), fault.WithHint("set the clock of this host"))
	case now.After(leaf.NotAfter):
		return fault.New(fault.Denied, subject, fmt.Sprintf("expired %s ago",
			now.Sub(leaf.NotAfter).Round(time.Second)), fault.WithHint("check the clock, or join the host again"))
	}
	return fault.New(fault.Denied, subject, "was not issued by this fleet", fault.WithCause(err))
}

// RenewAt returns when a certificate is to be renewed: at half of its life.
func RenewAt(cert *x509.Certificate) time.Time {
	start := cert.NotBefore.Add(backdate)
	return start.Add(cert.NotAfter.Sub(start) / 2)
}

// NewKey returns a new private key.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// NewRequest returns a certificate request for a key.
func NewRequest(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// NewKeyAndRequest returns a new private key with a certificate request for it.
func NewKeyAndRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	request, err := NewRequest(key)
	return key, request, err
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, signer *ecdsa.PrivateKey) (
	*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serial returns a random serial number of 127 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

func short(fleet string) string { return fleet[:min(12, len(fleet))] }

// PeerLife is the life of the certificates among the members of the store. They are on managers
// only.
const PeerLife = authorityLife

// Issue returns a new key with a certificate for it, for a host or a person that the authority's holder knows.
// The address of a person is zero.
func (a Authority) Issue(who Identity, address netip.Addr, life time.Duration, now time.Time) (*ecdsa.PrivateKey,
	*x509.Certificate, error) {
	key, request, err := NewKeyAndRequest()
	if err != nil {
		return nil, nil, err
	}
	var addresses []netip.Addr
	if address.IsValid() {
		addresses = []netip.Addr{address}
	}
	cert, err := a.Sign(request, who, addresses, life, now)
	return key, cert, err
}
