// Package external describes an etcd cluster of the operator that keeps the records of a fleet, and checks
// one before it is used. Only managers have its credentials.
//
// It stores nothing. In the cluster it only records which credentials are the newest. It is used by fleetagent.
package external

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// maxPrefix limits the length of a prefix.
const maxPrefix = 200

// Store is an external store. The credentials are nil on members.
type Store struct {
	Endpoints []string `json:"endpoints"`
	Prefix    string   `json:"prefix,omitempty"`
	Serial    uint64   `json:"serial,omitempty"` // of the credentials: higher than that of older ones

	CA   []byte `json:"-"` // certificates of authorities, in PEM
	Cert []byte `json:"-"` // in PEM
	Key  []byte `json:"-"` // in PEM
}

// Of returns the store of a message, or nil.
func Of(m *fleetv1.ExternalStore) *Store {
	if m == nil {
		return nil
	}
	return &Store{Endpoints: m.GetEndpoints(), Prefix: m.GetPrefix(), Serial: m.GetSerial(), CA: m.GetCa(),
		Cert: m.GetCertificate(), Key: m.GetKey()}
}

// Message returns the message for a manager, with credentials.
func (s *Store) Message() *fleetv1.ExternalStore {
	if s == nil {
		return nil
	}
	m := s.Public().message()
	m.Ca, m.Certificate, m.Key = s.CA, s.Cert, s.Key
	return m
}

// Public returns the store without credentials. It returns nil for nil.
func (s *Store) Public() *Store {
	if s == nil {
		return nil
	}
	return &Store{Endpoints: s.Endpoints, Prefix: s.Prefix, Serial: s.Serial}
}

func (s *Store) message() *fleetv1.ExternalStore {
	return &fleetv1.ExternalStore{Endpoints: s.Endpoints, Prefix: s.Prefix, Serial: s.Serial}
}

// Shown returns the message for users: without credentials. It returns nil for nil.
func (s *Store) Shown() *fleetv1.ExternalStore {
	if s == nil {
		return nil
	}
	m := s.Public().message()
	if expires, err := s.Expires(); err == nil {
		m.CertificateExpires = timestamppb.New(expires)
	}
	return m
}

// Replaces reports whether credentials are newer than those of another store, which can be nil.
func (s *Store) Replaces(other *Store) bool {
	return s != nil && (other == nil || len(other.Key) == 0 || s.Serial > other.Serial)
}

// Normal returns the store with a prefix that ends without a slash, and endpoints without a path.
func (s Store) Normal() *Store {
	s.Prefix = strings.TrimRight(s.Prefix, "/")
	s.Endpoints = slices.Clone(s.Endpoints)
	for i, e := range s.Endpoints {
		s.Endpoints[i] = strings.TrimRight(strings.TrimSpace(e), "/")
	}
	return &s
}

// Check returns an error if the store cannot be used, as far as that is known without a connection.
func (s *Store) Check(now time.Time) error {
	if err := s.checkEndpoints(); err != nil {
		return err
	}
	if err := checkPrefix(s.Prefix); err != nil {
		return err
	}
	for _, o := range []struct {
		name string
		data []byte
	}{{"--store-ca", s.CA}, {"--store-cert", s.Cert}, {"--store-key", s.Key}} {
		if len(o.data) == 0 {
			return fault.New(fault.Invalid, "store", "needs "+o.name,
				fault.WithHint("the store is reached with TLS and a client certificate only"))
		}
	}
	if _, err := authorities(s.CA); err != nil {
		return err
	}
	cert, err := s.certificate()
	if err != nil {
		return err
	}
	switch leaf := cert.Leaf; {
	case now.After(leaf.NotAfter):
		return fault.New(fault.Invalid, "certificate "+leaf.Subject.CommonName+" of --store-cert",
			"has expired on "+leaf.NotAfter.UTC().Format(time.DateTime)+" UTC", fault.WithHint("use a new one"))
	case now.Before(leaf.NotBefore):
		return fault.New(fault.Invalid, "certificate "+leaf.Subject.CommonName+" of --store-cert",
			"is not valid before "+leaf.NotBefore.UTC().Format(time.DateTime)+" UTC", fault.WithHint("check the clock"))
	}
	return nil
}

func (s *Store) checkEndpoints() error {
	if len(s.Endpoints) == 0 {
		return fault.New(fault.Invalid, "store", "has no endpoints", fault.WithHint("use --store https://HOST:2379"))
	}
	for i, text := range s.Endpoints {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" ||
			u.RawQuery != "" || u.User != nil {
			return fault.New(fault.Invalid, fmt.Sprintf("store endpoint %q", text),
				"is not a URL as in https://etcd1.example.net:2379",
				fault.WithHint("it must be reached with TLS"))
		}
		if slices.Contains(s.Endpoints[:i], text) {
			return fault.New(fault.Invalid, "store endpoint "+text, "is given twice")
		}
	}
	return nil
}

// checkPrefix refuses a prefix that would share keys with another one, or cannot be typed.
func checkPrefix(prefix string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, fmt.Sprintf("store prefix %q", prefix), why,
			fault.WithHint("use for example --store-prefix /fleets/production"))
	}
	switch {
	case prefix == "":
		return nil
	case prefix[0] != '/':
		return bad("does not start with a slash")
	case len(prefix) > maxPrefix:
		return bad(fmt.Sprintf("is longer than %d characters", maxPrefix))
	case strings.Contains(prefix, "//"):
		return bad("has an empty part")
	}
	for _, c := range prefix {
		if c <= ' ' || c > '~' {
			return bad("has other characters than ASCII letters, digits and punctuation")
		}
	}
	return nil
}

// Expires returns when the client certificate expires.
func (s *Store) Expires() (time.Time, error) {
	cert, err := s.certificate()
	if err != nil {
		return time.Time{}, err
	}
	return cert.Leaf.NotAfter, nil
}

// TLS returns the configuration of connections.
func (s *Store) TLS(now func() time.Time) (*tls.Config, error) {
	roots, err := authorities(s.CA)
	if err != nil {
		return nil, err
	}
	cert, err := s.certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{cert},
		Time: now}, nil
}

func (s *Store) certificate() (tls.Certificate, error) {
	cert, err := tls.X509KeyPair(s.Cert, s.Key)
	if err != nil {
		return cert, fault.New(fault.Invalid, "--store-cert and --store-key",
			"are not a certificate and its key in PEM", fault.WithCause(err))
	}
	if cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	return cert, err
}

// authorities returns the certificates of PEM data, all of which must be readable.
func authorities(data []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fault.New(fault.Invalid, "--store-ca", "has a "+block.Type+" that is not a certificate",
				fault.WithCause(err))
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, fault.New(fault.Invalid, "--store-ca", "has no certificate in PEM")
	}
	return pool, nil
}

// With returns the store with what another one has: endpoints, and credentials, which belong together.
func (s *Store) With(changed *Store) (*Store, error) {
	next, changed := *s, changed.Normal()
	if changed.Prefix != "" && changed.Prefix != s.Prefix {
		return nil, fault.New(fault.Invalid, "store prefix", fmt.Sprintf("is %q and cannot be changed", s.Prefix))
	}
	if (len(changed.Cert) > 0) != (len(changed.Key) > 0) {
		return nil, fault.New(fault.Invalid, "--store-cert and --store-key", "can only be changed together")
	}
	if len(changed.Endpoints) > 0 {
		next.Endpoints = changed.Endpoints
	}
	if len(changed.CA) > 0 {
		next.CA = changed.CA
	}
	if len(changed.Cert) > 0 {
		next.Cert, next.Key = changed.Cert, changed.Key
	}
	return &next, nil
}
