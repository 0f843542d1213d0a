package listen

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

// TLS returns the TLS configuration of tcp:// hosts, which requires client certificates of the CA.
// It is nil without tlsverify.
func TLS(cfg *config.Config) (*tls.Config, error) {
	if !cfg.TLSVerify {
		return nil, nil
	}
	own, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return nil, fault.New(fault.Invalid, "tlscert "+cfg.TLSCert+", tlskey "+cfg.TLSKey, "cannot be used",
			fault.WithCause(err),
			fault.WithField("tlscert"), fault.WithHint("use a certificate and its key in PEM format"))
	}
	subject := "tlscacert " + cfg.TLSCACert
	text, err := os.ReadFile(cfg.TLSCACert)
	if err != nil {
		return nil, fault.New(fault.Invalid, subject, "cannot be read", fault.WithCause(err),
			fault.WithField("tlscacert"))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, subject, "contains no certificate", fault.WithField("tlscacert"),
			fault.WithHint("use the CA certificate in PEM format"))
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}, nil
}
