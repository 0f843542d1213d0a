package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// generateCerts is the program `certify DIRECTORY`.
func generateCerts() { writeCerts(os.Args[1]) }

// writeCerts writes the CA certificate ca.pem, and two
// certificates that the CA signed: agent.pem with agent-key.pem, and cert.pem with key.pem.
func writeCerts(dir string) {
	stopOn(os.MkdirAll(dir, 0o755))
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey := newKey()
	writeCertificate(dir, "ca.pem", "", ca, ca, caKey, caKey)
	for _, names := range [][2]string{{"agent.pem", "agent-key.pem"}, {"cert.pem", "key.pem"}} {
		own := &x509.Certificate{IPAddresses: []net.IP{netip.MustParseAddr(lab.HostIPv4).AsSlice()},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		writeCertificate(dir, names[0], names[1], own, ca, newKey(), caKey)
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	stopOn(err)
	return key
}

// writeCertificate writes a certificate signed by ca. It writes the key too if keyName is not
// empty.
func writeCertificate(dir, name, keyName string, own, ca *x509.Certificate, key, caKey *ecdsa.PrivateKey) {
	own.SerialNumber, own.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	own.NotBefore, own.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, own, ca, &key.PublicKey, caKey)
	stopOn(err)
	write := func(name, kind string, bytes []byte) {
		stopOn(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
	}
	write(name, "CERTIFICATE", der)
	if keyName != "" {
		private, err := x509.MarshalPKCS8PrivateKey(key)
		stopOn(err)
		write(keyName, "PRIVATE KEY", private)
	}
}
