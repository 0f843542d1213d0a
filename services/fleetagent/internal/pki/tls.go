package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// ServerConfig returns the TLS configuration of a host's listener. The certificate is asked for with
// each connection, so a renewed one is used immediately. If required is false, clients without a
// certificate are accepted, and it is up to the caller what they may do.
func ServerConfig(authority *x509.Certificate, own func() *tls.Certificate, required bool,
	now func() time.Time) *tls.Config {
	auth := tls.RequestClientCert
	if required {
		auth = tls.RequireAnyClientCert
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: auth, NextProtos: []string{"h2"}, Time: now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return present(own) },
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 && !required {
				return nil
			}
			_, err := PeerIdentity(state, authority, now())
			return err
		},
	}
}

// Expected describes the other side of a connection. An empty field accepts each host of the fleet.
type Expected struct {
	Host string
	Role Role
}

// ClientConfig returns the TLS configuration of a connection to a host. The client's certificate is
// optional.
func ClientConfig(authority *x509.Certificate, own func() *tls.Certificate, other Expected,
	now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Time: now,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain and the identity
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert := own(); cert != nil {
				return cert, nil
			}
			return &tls.Certificate{}, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			who, err := PeerIdentity(state, authority, now())
			switch {
			case err != nil:
				return err
			case who.Role == Operator:
				return fault.New(fault.Denied, "server "+who.String(), "has the certificate of a person")
			case other.Host != "" && who.Host != other.Host:
				return fault.New(fault.Denied, "server", fmt.Sprintf("is host %s, not %s", who.Host, other.Host))
			case other.Role != "" && who.Role != other.Role:
				return fault.New(fault.Denied, "server", fmt.Sprintf("host %s is a %s, not a %s", who.Host, who.Role,
					other.Role))
			}
			return nil
		},
	}
}

// PeerIdentity returns the identity of the other side of a connection.
func PeerIdentity(state tls.ConnectionState, authority *x509.Certificate, now time.Time) (Identity, error) {
	var raw [][]byte
	for _, c := range state.PeerCertificates {
		raw = append(raw, c.Raw)
	}
	return Verify(raw, authority, now)
}

func present(own func() *tls.Certificate) (*tls.Certificate, error) {
	if cert := own(); cert != nil {
		return cert, nil
	}
	return nil, fault.New(fault.Unavailable, "certificate", "is not issued yet")
}
