package auth

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoopbackIdentityHasUserOfClient(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to change the user")
	}

	const other = 12345
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for _, uid := range []uint32{0, other} {
			host := map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1"}[address]
			client := exec.Command("/bin/bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%s; read -u 3", host, port))
			client.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			client.Dir = "/"
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			who, err := loopbackIdentity(conn, nil)
			if err != nil || who.local == nil || who.local.Uid != uid || who.IsAdmin() != (uid == 0) {
				t.Errorf("%s: got %v, %v, want uid %d", address, who, err, uid)
			}
			if member, err := loopbackIdentity(conn, func(u uint32) bool { return u == other }); err != nil ||
				!member.IsAdmin() {
				t.Errorf("%s: got %v, %v, want a member of the group", address, member, err)
			}
			_ = conn.Close()
			_ = client.Wait()
		}
	}
}

func TestUnknownTCPClientsAreNotTrusted(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	c := peerCredentials{failures: &failures{log: slog.New(slog.DiscardHandler)}}
	if who := c.plain(here, "192.0.2.1:1"); who.IsAdmin() {
		t.Errorf("got %v as an administrator", who)
	}
	c.OpenTCP = func() bool { return true }
	if who := c.plain(here, "192.0.2.1:1"); !who.IsAdmin() {
		t.Errorf("got %v not as an administrator, but the socket is open", who)
	}
}

func TestPeerIsUserCertificateOrHost(t *testing.T) {
	for want, who := range map[string]Identity{
		"uid=1": {local: &unix.Ucred{Uid: 1, Pid: 7}}, `certificate="CN=me"`: {certificate: "CN=me", remote: "192.0.2.1:7"},
		"192.0.2.1": {remote: "192.0.2.1:7"}, "pipe": {remote: "pipe"},
	} {
		if got := who.Peer(); got != want {
			t.Errorf("%v: got peer %q, want %q", who, got, want)
		}
	}
}

func TestFailedHandshakeLoggedWithPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	c := peerCredentials{Credentials{TLS: func() *tls.Config { return &tls.Config{} }},
		&failures{log: slog.New(slog.NewTextHandler(&log, nil))}}
	if _, _, err := c.ServerHandshake(conn); err == nil {
		t.Error("got plain HTTP accepted, want an error")
	}

	want := "peer=" + client.LocalAddr().String()
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, want) {
		t.Errorf("got %q, want a warning with %q", got, want)
	}
}
