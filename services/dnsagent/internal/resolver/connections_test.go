package resolver_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// connect connects over TCP and sends data.
func (b *bench) connect(data []byte) net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.tcp)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(data); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

func TestTCPWrongLengthsAffectOneConnection(t *testing.T) {
	b := start(t)
	good, _ := question("web", dns.TypeA).Pack()
	framed := func(length int, message []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(length)), message...)
	}

	for name, data := range map[string][]byte{
		"empty":                   {},
		"half a length":           {0},
		"length only":             framed(len(good), nil),
		"length too large":        framed(len(good)+100, good),
		"length too small":        framed(len(good)-5, good),
		"thousand empty messages": make([]byte, 2000),
		"message too long":        framed(5000, append(good, make([]byte, 5000)...)),
	} {
		conn := b.connect(data)
		if got := b.ask("tcp", question("web", dns.TypeA)); len(got.Answer) != 1 {
			t.Errorf("during %s:\n%v", name, got)
		}
		_ = conn.Close()
	}

	conn := b.connect(append(framed(0, nil), framed(len(good), good)...))
	if got, err := (&dns.Conn{Conn: conn}).ReadMsg(); err != nil || len(got.Answer) != 1 {
		t.Errorf("after an empty message: %v, %v", got, err)
	}
}

func TestIdleTCPConnectionsAreBounded(t *testing.T) {
	b := start(t)
	const limit = 256
	var slow []net.Conn
	for range limit {
		slow = append(slow, b.connect([]byte{0})) // half a length
	}

	if _, err := b.connect(nil).Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, os.ErrClosed) {
		t.Errorf("connection beyond the limit: got %v, want EOF", err)
	}

	if got := b.ask("udp", question("web", dns.TypeA)); len(got.Answer) != 1 {
		t.Errorf("over UDP meanwhile:\n%v", got)
	}

	_ = slow[0].Close()
	client := &dns.Client{Net: "tcp", Timeout: timeout}
	for deadline := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		got, _, err := client.Exchange(question("web", dns.TypeA), b.tcp)
		if err == nil && len(got.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a connection was closed: got %v, %v", got, err)
		}
	}
}

func TestClientThatNeverReadsDelaysNoOther(t *testing.T) {
	b := start(t)
	many := make([]string, 0, 200)
	for i := range 200 {
		many = append(many, fmt.Sprintf("10.9.0.%d", i))
	}

	b.put("many", many...)
	good, _ := question("many", dns.TypeA).Pack()
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(good))), good...)
	conn := b.connect(nil)
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	for range 100_000 { // until the buffers are full
		if _, err := conn.Write(framed); err != nil {
			break
		}
	}

	for _, network := range []string{"udp", "tcp"} {
		if got := b.ask(network, question("web", dns.TypeA)); len(got.Answer) != 1 {
			t.Errorf("over %s meanwhile:\n%v", network, got)
		}
	}
}
