package run_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead/fairlead/agent/config"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// authority is a temporary CA.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := template("ca")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.key = newKey(t)
	a.cert = a.sign("ca", template, template, a.key)
	return a
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{netip.MustParseAddr("127.0.0.1").AsSlice()},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign creates a certificate and stores it and its key as NAME.pem and NAME.key.
func (a *authority) sign(name string, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue creates a certificate for a name and returns it with its key.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	a.sign(name, template(name), a.cert, newKey(a.t))
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func TestTCPRequiresCertificateOfCA(t *testing.T) {
	own, theirs := newAuthority(t), newAuthority(t)
	own.issue("agent")
	address := freeAddress(t)
	r := newRoots(t, flag("hosts", "tcp://"+address), flag("tlsverify", "true"), flag("tlscacert", own.dir+"/ca.pem"),
		flag("tlscert", own.dir+"/agent.pem"), flag("tlskey", own.dir+"/agent.key"))
	r.start("agent", true, supervisorService())
	pool := x509.NewCertPool()
	pool.AddCert(own.cert)
	with := func(certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: certs})
	}
	for name, c := range map[string]struct {
		creds credentials.TransportCredentials
		in    bool
	}{
		"a certificate of our CA":     {with(own.issue("me")), true},
		"a certificate of another CA": {with(theirs.issue("me")), false},
		"no certificate":              {with(), false},
		"no TLS":                      {insecure.NewCredentials(), false},
	} {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(c.creds))
		if err != nil {
			t.Fatal(err)
		}
		_, err = containerv1.NewContainerServiceClient(conn).ListContainers(r.ctx, &containerv1.ListContainersRequest{})
		if (err == nil) != c.in {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
}

func flag(key, text string) config.Setting {
	return config.Setting{Key: key, Texts: []string{text}, Origin: config.Origin{Rank: config.Flag, Name: "--" + key}}
}

// freeAddress returns an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestSilentConnectionsDoNotBlockLocalCommands(t *testing.T) {
	own := newAuthority(t)
	own.issue("agent")
	address, public := freeAddress(t), "unix://"+t.TempDir()+"/s"
	r := newRoots(t, flag("hosts", public), flag("hosts", "tcp://"+address), flag("tlsverify", "true"),
		flag("tlscacert", own.dir+"/ca.pem"),
		flag("tlscert", own.dir+"/agent.pem"), flag("tlskey", own.dir+"/agent.key"))
	r.start("agent", true, supervisorService())
	var silent []net.Conn
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		silent = append(silent, conn)
	}
	local, err := grpc.NewClient(public, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	if _, err := containerv1.NewContainerServiceClient(local).ListContainers(r.ctx,
		&containerv1.ListContainersRequest{}); err != nil {
		t.Errorf("a local command: %v", err)
	}
	// All are closed: those over the limit immediately, the others at the handshake timeout.
	for _, conn := range silent {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Read(make([]byte, 1)); os.IsTimeout(err) {
			t.Fatal("a silent connection stays open")
		}
	}
}
