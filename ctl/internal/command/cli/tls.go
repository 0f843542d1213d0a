package cli

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/proto/fault"
)

// Environment variables for TLS, like Docker's.
const (
	VerifyVariable       = "FAIRLEAD_TLS_VERIFY" // not empty: --tlsverify
	CertificatesVariable = "FAIRLEAD_CERT_PATH"  // directory of ca.pem, cert.pem and key.pem
)

// TLS holds the TLS flags.
type TLS struct {
	Verify        bool
	CA, Cert, Key string
}

// tls returns the TLS options for a host. Unix sockets are protected by their permissions and use
// none.
func (c *CLI) tls(host string) ([]client.Option, error) {
	verify, _ := c.LookupEnv(VerifyVariable)
	if !strings.HasPrefix(host, "tcp://") || !c.TLS.Verify && verify == "" {
		if c.TLS.CA+c.TLS.Cert+c.TLS.Key != "" && !c.TLS.Verify {
			return nil, fault.New(fault.Invalid, "--tlscacert, --tlscert, --tlskey",
				"have no effect without --tlsverify", fault.WithField("tlsverify"),
				fault.WithHint("add --tlsverify, or omit them"))
		}
		return nil, nil
	}

	ca, cert, key := c.certificate(c.TLS.CA, "ca.pem"), c.certificate(c.TLS.Cert,
		"cert.pem"), c.certificate(c.TLS.Key, "key.pem")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "certificate "+cert+" with key "+key, "cannot be loaded",
			fault.WithCause(err),
			fault.WithHint("set both with --tlscert and --tlskey, or store cert.pem and key.pem in the directory "+
				"of %s", CertificatesVariable))
	}

	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fault.New(fault.Invalid, "CA certificate "+ca, "cannot be read", fault.WithCause(err),
			fault.WithHint("set the file with --tlscacert"))
	}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "CA certificate "+ca, "contains no certificate",
			fault.WithHint("use a PEM file"))
	}

	return []client.Option{client.WithTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own},
		MinVersion: tls.VersionTLS12})}, nil
}

// certificate returns the given file, or the default one in the TLS directory.
func (c *CLI) certificate(given, name string) string {
	if given != "" {
		return given
	}
	if dir, _ := c.LookupEnv(CertificatesVariable); dir != "" {
		return filepath.Join(dir, name)
	}
	home, _ := c.LookupEnv("HOME")
	return filepath.Join(home, ".fairlead", name)
}
