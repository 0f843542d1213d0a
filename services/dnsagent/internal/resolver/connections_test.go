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

// connect connects by TCP, and sends something.
func (b *bench) connect(data []byte) net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.tcp)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(data); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

func TestLengthsThatLieHarmNobodyElse(t *testing.T) {
	b := start(t)
	good, _ := question("web", dns.TypeA).Pack()
	framed := func(length int, message []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(length)), message...)
	}
	for name, data := range map[string][]byte{
		"nothing":                     {},
		"half a length":               {0},
		"a length and nothing":        framed(len(good), nil),
		"more than there is":          framed(len(good)+100, good),
		"less than there is":          framed(len(good)-5, good),
		"no byte, a thousand times":   make([]byte, 2000),
		"more than a question may be": framed(5000, append(good, make([]byte, 5000)...)),
	} {
		conn := b.connect(data)
		if got := b.ask("tcp", question("web", dns.TypeA)); len(got.Answer) != 1 {
			t.Errorf("beside %s:\n%v", name, got)
		}
		_ = conn.Close()
	}
	conn := b.connect(append(framed(0, nil), framed(len(good), good)...))
	if got, err := (&dns.Conn{Conn: conn}).ReadMsg(); err != nil || len(got.Answer) != 1 {
		t.Errorf("after an empty message: %v, %v", got, err)
	}
}

func TestConnectionsThatNeverAskAreBoundedAndDelayNobody(t *testing.T) {
	b := start(t)
	const limit = 256
	var slow []net.Conn
	for range limit {
		slow = append(slow, b.connect([]byte{0})) // half a length
	}
	if _, err := b.connect(nil).Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, os.ErrClosed) {
		t.Errorf("one more: %v, want its end", err)
	}
	if got := b.ask("udp", question("web", dns.TypeA)); len(got.Answer) != 1 {
		t.Errorf("by UDP meanwhile:\n%v", got)
	}
	_ = slow[0].Close()
	client := &dns.Client{Net: "tcp", Timeout: patience}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, _, err := client.Exchange(question("web", dns.TypeA), b.tcp)
		if err == nil && len(got.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after one has ended: %v, %v", got, err)
		}
	}
}

func TestAnAskerThatNeverReadsItsAnswersDelaysNobody(t *testing.T) {
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
	for range 100_000 { // until nothing fits any more
		if _, err := conn.Write(framed); err != nil {
			break
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		if got := b.ask(network, question("web", dns.TypeA)); len(got.Answer) != 1 {
			t.Errorf("by %s meanwhile:\n%v", network, got)
		}
	}
}
