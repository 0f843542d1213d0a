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

// The variables of the environment that say how to talk to a tcp:// agent, as Docker's do.
const (
	VerifyVariable       = "FAIRLEAD_TLS_VERIFY" // not empty: as --tlsverify
	CertificatesVariable = "FAIRLEAD_CERT_PATH"  // the folder of ca.pem, cert.pem and key.pem
)

// TLS is what the flags say of certificates.
type TLS struct {
	Verify        bool
	CA, Cert, Key string
}

// tls is how to talk to a host. Those of this machine are talked to by a socket that only those may use who are let.
func (c *CLI) tls(host string) ([]client.Option, error) {
	verify, _ := c.LookupEnv(VerifyVariable)
	if !strings.HasPrefix(host, "tcp://") || !c.TLS.Verify && verify == "" {
		if c.TLS.CA+c.TLS.Cert+c.TLS.Key != "" && !c.TLS.Verify {
			return nil, fault.New(fault.Invalid, "--tlscacert, --tlscert, --tlskey", "nothing uses them without --tlsverify", fault.WithField("tlsverify"),
				fault.WithHint("give --tlsverify, or leave them out"))
		}
		return nil, nil
	}
	ca, cert, key := c.certificate(c.TLS.CA, "ca.pem"), c.certificate(c.TLS.Cert, "cert.pem"), c.certificate(c.TLS.Key, "key.pem")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "certificate "+cert+" with key "+key, "cannot be used", fault.WithCause(err),
			fault.WithHint("give both in PEM by --tlscert and --tlskey, or as cert.pem and key.pem in the folder that %s names", CertificatesVariable))
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fault.New(fault.Invalid, "CA's certificate "+ca, "cannot be read", fault.WithCause(err), fault.WithHint("name the file by --tlscacert"))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "CA's certificate "+ca, "holds no certificate", fault.WithHint("give it in PEM"))
	}
	return []client.Option{client.WithTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})}, nil
}

// certificate is the file that is given, or else the one of that name in the user's folder.
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
