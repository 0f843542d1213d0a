package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/rules"
)

// hello returns the ClientHello of a client that asks for a name.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() { // ends when the pipe is closed
		_ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}).Handshake()
	}()
	defer client.Close()
	buffer := make([]byte, 64<<10)
	n, err := server.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

// exchange sends parts on a connection to a server that echoes, and returns "" if all came back.
func (w *world) exchange(from *testns.NS, to string, parts ...[]byte) string {
	w.t.Helper()
	c, err := from.Dial("tcp", to, time.Minute)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	for _, p := range parts {
		if _, err := c.Write(p); err != nil {
			return err.Error()
		}
	}
	all := bytes.Join(parts, nil)
	got := make([]byte, len(all))
	if _, err := io.ReadFull(c, got); err != nil {
		return err.Error()
	}
	if !bytes.Equal(got, all) {
		return "other bytes came back"
	}
	return ""
}

func TestServerNames(t *testing.T) {
	w := newWorld(t)
	learn := func(name string, addresses ...string) {
		t.Helper()
		var all []netip.Addr
		for _, a := range addresses {
			all = append(all, netip.MustParseAddr(a))
		}
		if _, err := w.enforcer.Learn(context.Background(), owner, answer(name, all, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	w.put("a.test", "*.b.test:443")
	learn("a.test", web4, web6)
	learn("x.b.test", web4)

	good, bad, none := hello(t, "a.test"), hello(t, "evil.test"), hello(t, "")
	request := func(host string) []byte { return []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n") }
	for _, c := range []struct {
		what, to string
		parts    [][]byte
		ok       bool
	}{
		{"allowed", web4 + ":443", [][]byte{good}, true},
		{"IPv6", "[" + web6 + "]:443", [][]byte{good}, true},
		{"suffix", web4 + ":443", [][]byte{hello(t, "y.b.test")}, true},
		{"split", web4 + ":443", [][]byte{good[:1], good[1:7], good[7:100], good[100:]}, true},
		{"neighbour", web4 + ":443", [][]byte{bad}, false},
		{"neighbour, split", web4 + ":443", [][]byte{bad[:3], bad[3:]}, false},
		{"no name", web4 + ":443", [][]byte{none}, false},
		{"not TLS", web4 + ":443", [][]byte{[]byte("SSH-2.0-x\r\n")}, false},
		{"host", web4 + ":80", [][]byte{request("a.test"), request("A.test:80")}, true},
		{"address", web4 + ":80", [][]byte{request(web4)}, true},
		{"another host", web4 + ":80", [][]byte{request("evil.test")}, false},
		{"second host", web4 + ":80", [][]byte{request("a.test"), request("evil.test")}, false},
		{"host of another port", web4 + ":80", [][]byte{request("x.b.test")}, false},
	} {
		got := w.exchange(w.a, c.to, c.parts...)
		if (got == "") != c.ok {
			t.Errorf("%s: got %q", c.what, got)
		}
		if !c.ok && !strings.Contains(got, "reset") {
			t.Errorf("%s: got %q, want a reset", c.what, got)
		}
	}
	if text := w.refusals(7); strings.Count(text, "box server tcp 198.51.100.2 443 evil.test") != 2 ||
		strings.Count(text, "box server tcp 198.51.100.2 80 evil.test") != 2 {
		t.Errorf("records:\n%s", text)
	}
	if n := w.enforcer.Refused(owner); n != 7 {
		t.Errorf("%d refused, want 7", n)
	}
	known := func() string { return w.host.Run("conntrack", "-L", "-p", "tcp") }
	for end := time.Now().Add(time.Minute); strings.Contains(known(), "ESTABLISHED"); {
		time.Sleep(100 * time.Millisecond)
		if time.Now().After(end) {
			t.Fatalf("refused connections are still known:\n%s", known())
		}
	}
	for _, name := range []string{"senders", "beginners"} {
		if text := w.host.Run("nft", "list", "set", "inet", rules.TableName, name); !strings.Contains(text, macA) {
			t.Errorf("the packets of the container are not limited:\n%s", text)
		}
	}
	w.checkVerified(good)

	w.put("a.test/any-name")
	for _, port := range []string{":443", ":80"} {
		if got := w.exchange(w.a, web4+port, bad); got != "" {
			t.Errorf("any name, port %s: %s", port, got)
		}
	}
	w.put("a.test", "198.51.100.0/24:443")
	if got := w.exchange(w.a, web4+":443", bad); got != "" {
		t.Errorf("address rule: %s", got)
	}
}

// checkVerified checks that packets after the first ones are not queued, and that the connection continues
// without natagent, while new ones wait.
func (w *world) checkVerified(hello []byte) {
	w.t.Helper()
	c, err := w.a.Dial("tcp", web4+":443", time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	echo := func(data []byte) {
		w.t.Helper()
		if _, err := c.Write(data); err != nil {
			w.t.Fatal(err)
		}
		if _, err := io.ReadFull(c, data); err != nil {
			w.t.Fatal(err)
		}
	}

	echo(bytes.Clone(hello))
	w.stop()
	for range 100 {
		echo(make([]byte, 1000))
	}
	if c, err := w.a.Dial("tcp", web4+":443", 2*time.Second); err == nil {
		_ = c.Close()
		w.t.Error("a connection began without natagent")
	}
	w.start()
	if got := w.exchange(w.a, web4+":443", hello); got != "" {
		w.t.Errorf("after a restart: %s", got)
	}
}
