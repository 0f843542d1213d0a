package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
)

// pair is a certificate with its key, in PEM.
type pair struct{ cert, key []byte }

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	p := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "operator"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
	a.pem = p.cert
	return a
}

// sign returns a certificate. The first one is that of the authority.
func (a *authority) sign(c *x509.Certificate) pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must0(a.t, err)
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour)
	if a.cert == nil {
		a.cert, a.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	must0(a.t, err)
	if a.pem == nil {
		a.cert, err = x509.ParseCertificate(der)
		must0(a.t, err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	must0(a.t, err)
	return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})}
}

// client returns a client certificate that is valid for a time.
func (a *authority) client(name string, life time.Duration) pair {
	a.t.Helper()
	return a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// cluster is an etcd server of an operator.
type cluster struct {
	t        *testing.T
	dir, url string
	ca       *authority
	cmd      *exec.Cmd
}

// newCluster starts an etcd server at the address of host number n, on port 2379.
func newCluster(t *testing.T, n int, ca *authority) *cluster {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root to create network namespaces")
	}
	address := fmt.Sprintf("10.7.%d.%d", network(t), n)
	c := &cluster{t: t, dir: t.TempDir(), url: "https://" + address + ":2379", ca: ca}
	server := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "etcd"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	for name, data := range map[string][]byte{"ca": ca.pem, "cert": server.cert, "key": server.key} {
		must0(t, os.WriteFile(filepath.Join(c.dir, name), data, 0o600))
	}
	t.Cleanup(c.stop)
	c.start()
	return c
}

// start starts the server and waits until it answers.
func (c *cluster) start() {
	c.t.Helper()
	file := func(name string) string { return filepath.Join(c.dir, name) }
	peer := strings.Replace(c.url, ":2379", ":2380", 1)
	log, err := os.Create(file("log"))
	must0(c.t, err)
	defer log.Close()
	c.cmd = exec.Command(os.Getenv(inNamespace), "--name", "etcd", "--dir", file("data"), "--client-url", c.url,
		"--peer-url", peer, "--cluster", "etcd="+peer, "--ca", file("ca"), "--cert", file("cert"), "--key", file("key"),
		"--peer-ca", file("ca"), "--peer-cert", file("cert"), "--peer-key", file("key"))
	c.cmd.Stderr = log
	must0(c.t, c.cmd.Start())
	client := c.connect("root")
	defer client.Close()
	if !eventually(func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = client.Get(ctx, "x")
		return err == nil
	}) {
		text, _ := os.ReadFile(file("log"))
		c.t.Fatalf("etcd does not start: %v\n%s", err, text)
	}
}

// stop kills the server.
func (c *cluster) stop() {
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(syscall.SIGKILL)
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

// connect returns a client of the server, with the rights of a user.
func (c *cluster) connect(user string) *clientv3.Client {
	c.t.Helper()
	p := c.ca.client(user, time.Hour)
	cert, err := tls.X509KeyPair(p.cert, p.key)
	must0(c.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.ca.pem)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.url},
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots}})
	must0(c.t, err)
	return client
}

// restrict lets a user read and write keys below a prefix only.
func (c *cluster) restrict(user, prefix string) {
	c.t.Helper()
	ctx := context.Background()
	client := c.connect("root")
	defer client.Close()
	for _, name := range []string{"root", user} {
		_, err := client.RoleAdd(ctx, name)
		must0(c.t, err)
		_, err = client.UserAddWithOptions(ctx, name, "", &clientv3.UserAddOptions{NoPassword: true})
		must0(c.t, err)
		_, err = client.UserGrantRole(ctx, name, name)
		must0(c.t, err)
	}
	_, err := client.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix),
		clientv3.PermissionType(clientv3.PermReadWrite))
	must0(c.t, err)
	_, err = client.AuthEnable(ctx)
	must0(c.t, err)
}

// compact discards the changes up to now: a host that has not seen them reads all records again.
func (c *cluster) compact() {
	c.t.Helper()
	client := c.connect("root")
	defer client.Close()
	r, err := client.Get(context.Background(), "x")
	must0(c.t, err)
	_, err = client.Compact(context.Background(), r.Header.Revision)
	must0(c.t, err)
}

// keys returns the number of keys below a prefix.
func (c *cluster) keys(prefix string) int64 {
	c.t.Helper()
	client := c.connect("root")
	defer client.Close()
	r, err := client.Get(context.Background(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	must0(c.t, err)
	return r.Count
}

// store returns the store as a user gives it.
func (c *cluster) store(user pair, prefix string) *external.Store {
	return &external.Store{Endpoints: []string{c.url}, Prefix: prefix, CA: c.ca.pem, Cert: user.cert, Key: user.key}
}
