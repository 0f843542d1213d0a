package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/fairlead/fairlead/proto/fault"
)

// The types of PEM blocks.
const (
	certBlock = "CERTIFICATE"
	keyBlock  = "EC PRIVATE KEY"
)

// EncodeCert returns a certificate as PEM.
func EncodeCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw})
}

// EncodeKey returns a private key as PEM.
func EncodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), err
}

// DecodeCert reads a certificate from PEM. The subject names it in errors.
func DecodeCert(data []byte, subject string) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != certBlock {
		return nil, fault.New(fault.Invalid, subject, "is not a PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return cert, fault.Wrap(err, fault.Invalid, subject, "is not a certificate")
}

// DecodeKey reads a private key from PEM. Errors do not contain the key.
func DecodeKey(data []byte, subject string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != keyBlock {
		return nil, fault.New(fault.Invalid, subject, "is not a PEM key")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return key, fault.Wrap(err, fault.Invalid, subject, "is not a private key")
}
