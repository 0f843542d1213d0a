// Package membership keeps on disk what makes a host part of a fleet: its identity, its key and
// certificate, the fleet's certificate, and on managers the keys of the authorities. Everything is
// in one directory that only root can read. A host without that directory has no fleet.
//
// The files are written to a new directory that is then renamed, so a crash leaves a complete
// membership or none. The package opens no connection. It is used by fleetagent.
package membership

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Names of the files. The store's process reads those of the certificates itself.
const (
	recordFile = "membership.json"
	CAFile     = "ca.crt"
	CertFile   = "host.crt"
	KeyFile    = "host.key"
	caKeyFile  = "ca.key"
	PeerCAFile = "store-ca.crt"
	peerCAKey  = "store-ca.key"
	PeerCert   = "store-peer.crt"
	PeerKey    = "store-peer.key"

	externalCA   = "external-ca.crt"
	externalCert = "external.crt"
	externalKey  = "external.key"
)

// Record holds the values that are neither keys nor certificates.
type Record struct {
	Fleet   string    `json:"fleet"`
	Host    string    `json:"host"`
	Name    string    `json:"name"`
	Address string    `json:"address"` // where other hosts reach this one
	Port    uint16    `json:"port"`    // of agents, on the same address everywhere
	Store   []string  `json:"store"`   // client URLs
	Joined  time.Time `json:"joined"`
	// Generation is the highest generation of the store that this host knows; see fence.
	Generation uint64 `json:"generation,omitempty"`
	// Managers only: the generation of their own database.
	StoreGeneration uint64 `json:"store_generation,omitempty"`
	// Managers only: how their member of the store was started first.
	Member *StoreMember `json:"member,omitempty"`
	// External is the external store, nil if the managers run a store. Managers have its credentials, in
	// files of their own.
	External *external.Store `json:"external_store,omitempty"`
}

// StoreMember is this host's member of the store. It is nil for the first manager, whose member was
// started when the fleet was created.
type StoreMember struct {
	ID      uint64 `json:"id"`      // given by the store
	Cluster string `json:"cluster"` // NAME=PEER-URL,... of all members
	// Fresh is true until the database exists. A database that is missing later is not made again.
	Fresh bool `json:"fresh,omitempty"`
}

// Membership is the membership of this host.
type Membership struct {
	Record
	CA   *x509.Certificate
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	// Managers only.
	Authority *pki.Authority // nil on members
	Peers     *PeerKeys      // nil on members, and with an external store
}

// PeerKeys secure the connections among the members of the store. They have an authority of their
// own, so that a host which is not a manager cannot take part in the store's consensus.
type PeerKeys struct {
	Authority pki.Authority
	Cert      *x509.Certificate
	Key       *ecdsa.PrivateKey
}

// IsManager reports whether this host is a manager.
func (m *Membership) IsManager() bool { return m.Authority != nil }

// Keys returns the keys of the fleet's records.
func (m *Membership) Keys() record.Keys {
	prefix := ""
	if m.External != nil {
		prefix = m.External.Prefix
	}
	return record.ForFleet(prefix, m.Fleet)
}

// Identity returns the identity of this host.
func (m *Membership) Identity() (pki.Identity, error) { return pki.ParseIdentity(m.Cert) }

// TLS returns the certificate with its key for connections.
func (m *Membership) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{m.Cert.Raw, m.CA.Raw}, PrivateKey: m.Key, Leaf: m.Cert}
}

// Load reads the membership from a directory. It returns nil if the host has none. Rest of an
// interrupted Save are removed.
func Load(dir string) (*Membership, error) {
	if err := os.RemoveAll(next(dir)); err != nil {
		return nil, failed(dir, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, failed(dir, err)
	}

	m := &Membership{}
	if err := json.Unmarshal(data, &m.Record); err != nil {
		return nil, failed(dir, err)
	}
	r := reader{dir: dir}
	m.CA, m.Cert, m.Key = r.cert(CAFile), r.cert(CertFile), r.key(KeyFile)
	if r.has(caKeyFile) {
		m.Authority = &pki.Authority{Cert: m.CA, Key: r.key(caKeyFile)}
	}
	if m.External != nil && r.has(externalKey) {
		m.External.CA, m.External.Cert, m.External.Key = r.data(externalCA), r.data(externalCert), r.data(externalKey)
	}
	if r.has(peerCAKey) {
		m.Peers = &PeerKeys{Authority: pki.Authority{Cert: r.cert(PeerCAFile), Key: r.key(peerCAKey)},
			Cert: r.cert(PeerCert), Key: r.key(PeerKey)}
	}
	if r.err != nil {
		return nil, failed(dir, r.err)
	}
	return m, nil
}

// reader reads PEM files and keeps the first error.
type reader struct {
	dir string
	err error
}

func (r *reader) has(name string) bool {
	_, err := os.Stat(filepath.Join(r.dir, name))
	return err == nil
}

func (r *reader) data(name string) []byte {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	r.err = errors.Join(r.err, err)
	return data
}

func (r *reader) cert(name string) *x509.Certificate {
	path := filepath.Join(r.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		r.err = errors.Join(r.err, err)
		return nil
	}
	cert, err := pki.DecodeCert(data, path)
	r.err = errors.Join(r.err, err)
	return cert
}

func (r *reader) key(name string) *ecdsa.PrivateKey {
	path := filepath.Join(r.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		r.err = errors.Join(r.err, err)
		return nil
	}
	key, err := pki.DecodeKey(data, path)
	r.err = errors.Join(r.err, err)
	return key
}

// Save writes the membership to a directory and replaces what was there.
func Save(dir string, m *Membership) error {
	files, err := m.files()
	if err != nil {
		return failed(dir, err)
	}
	fresh := next(dir)
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(filepath.Dir(dir), 0o711), os.Mkdir(fresh,
		0o700)); err != nil {
		return failed(dir, err)
	}
	for name, data := range files {
		if err := write(filepath.Join(fresh, name), data); err != nil {
			return failed(dir, errors.Join(err, os.RemoveAll(fresh)))
		}
	}
	if err := swap(fresh, dir); err != nil {
		return failed(dir, errors.Join(err, os.RemoveAll(fresh)))
	}
	return nil
}

// files returns the content of all files by name.
func (m *Membership) files() (map[string][]byte, error) {
	text, err := json.MarshalIndent(m.Record, "", "  ")
	key, keyErr := pki.EncodeKey(m.Key)
	files := map[string][]byte{recordFile: append(text, '\n'), CAFile: pki.EncodeCert(m.CA),
		CertFile: pki.EncodeCert(m.Cert), KeyFile: key}
	if err = errors.Join(err, keyErr); err != nil || !m.IsManager() {
		return files, err
	}

	var errs [3]error
	files[caKeyFile], errs[0] = pki.EncodeKey(m.Authority.Key)
	if m.External != nil {
		files[externalCA], files[externalCert], files[externalKey] = m.External.CA, m.External.Cert, m.External.Key
		return files, errs[0]
	}
	files[peerCAKey], errs[1] = pki.EncodeKey(m.Peers.Authority.Key)
	files[PeerKey], errs[2] = pki.EncodeKey(m.Peers.Key)
	files[PeerCAFile], files[PeerCert] = pki.EncodeCert(m.Peers.Authority.Cert), pki.EncodeCert(m.Peers.Cert)
	return files, errors.Join(errs[:]...)
}

// Export returns all files of a membership by name.
func Export(m *Membership) (map[string][]byte, error) { return m.files() }

// Import returns the membership of exported files.
func Import(dir string, files map[string][]byte) (*Membership, error) {
	temporary, err := os.MkdirTemp(filepath.Dir(dir), "fleet-import") // mode 0700
	if err != nil {
		return nil, failed(dir, err)
	}
	defer os.RemoveAll(temporary)
	for name, data := range files {
		if err := write(filepath.Join(temporary, name), data); err != nil {
			return nil, failed(dir, err)
		}
	}
	m, err := Load(temporary)
	if err == nil && m == nil {
		err = failed(dir, fs.ErrNotExist)
	}
	return m, err
}

// Remove removes the membership. The host has no fleet after it.
func Remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(dir, err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(next(dir))); err != nil {
		return failed(dir, err)
	}
	return nil
}

func next(dir string) string { return dir + ".new" }

// swap puts a new directory in place of an old one, if there is one.
func swap(fresh, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(fresh, dir)
	} else if err == nil {
		err = os.RemoveAll(fresh) // now the old one
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func failed(dir string, err error) error {
	return fault.New(fault.Internal, "fleet membership in "+dir, "cannot be used", fault.WithCause(err))
}
