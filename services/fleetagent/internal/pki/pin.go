package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// PinnedConfig returns the TLS configuration of the first connection to a manager, when only the
// digest of the fleet's certificate is known. The manager sends that certificate behind its own.
// verified is called with it before anything is sent.
func PinnedConfig(digest [sha256.Size]byte, now func() time.Time, verified func(*x509.Certificate)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Time: now,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the chain against the digest
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if len(chain) != 2 || Digest(chain[1]) != digest {
				return fault.New(fault.Denied, "manager", "does not have the certificate that the join token names",
					fault.WithHint("the token is of another fleet, or another host answers at that address"))
			}
			who, err := PeerIdentity(state, chain[1], now())
			if err == nil && who.Role != Manager {
				err = fault.New(fault.Denied, "host "+who.Host, "is not a manager")
			}
			if err != nil {
				return err
			}
			verified(chain[1])
			return nil
		},
	}
}
