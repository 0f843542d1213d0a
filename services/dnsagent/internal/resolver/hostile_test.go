package resolver_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// header returns a DNS header with its four counts.
func header(flags uint16, counts ...uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xab, 0xcd}, flags)
	for i := range 4 {
		n := uint16(0)
		if i < len(counts) {
			n = counts[i]
		}
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// hostile returns malformed messages with the expected response code; -1 means no response.
func hostile() map[string]struct {
	message []byte
	code    int
} {
	name := []byte("\x03web\x00\x00\x01\x00\x01")
	return map[string]struct {
		message []byte
		code    int
	}{
		"empty":                        {nil, -1},
		"half a header":                {[]byte{1, 2, 3, 4, 5}, -1},
		"response":                     {append(header(0x8180, 1), name...), -1},
		"no question":                  {header(0x0100), dns.RcodeFormatError},
		"two questions":                {append(append(header(0x0100, 2), name...), name...), dns.RcodeFormatError},
		"65535 questions":              {append(header(0x0100, 65535), name...), dns.RcodeFormatError},
		"65535 missing records":        {append(header(0x0100, 1, 0, 0, 65535), name...), dns.RcodeSuccess},
		"a name that points to itself": {append(header(0x0100, 1), 0xc0, 12, 0, 1, 0, 1), dns.RcodeFormatError},
		"two that point to each other": {append(header(0x0100, 1), 0xc0, 14, 0xc0, 12, 0, 1, 0, 1),
			dns.RcodeFormatError},
		"a pointer past the end": {append(header(0x0100, 1), 0xff, 0xff, 0, 1, 0, 1), dns.RcodeFormatError},
		"a label past the end":   {append(header(0x0100, 1), 63, 'a'), dns.RcodeFormatError},
		"a reserved label":       {append(header(0x0100, 1), 0x80, 'a', 0, 0, 1, 0, 1), dns.RcodeFormatError},
		"a name of 300 bytes": {append(append(header(0x0100, 1), bytes.Repeat([]byte("\x09aaaaaaaaa"),
			30)...), 0, 0, 1, 0, 1), dns.RcodeFormatError},
		"a question without a type": {append(header(0x0100, 1), 3, 'w', 'e', 'b', 0), dns.RcodeFormatError},
		"an update":                 {append(header(0x2800, 1), name...), dns.RcodeNotImplemented},
		"noise":                     {bytes.Repeat([]byte{0x55}, 4000), dns.RcodeNotImplemented},
	}
}

func TestHostileMessagesAreRejected(t *testing.T) {
	b := start(t)
	for network, to := range map[string]string{"udp": b.address, "tcp": b.tcp} {
		for name, c := range hostile() {
			conn, err := net.Dial(network, to)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(timeout))
			send := func(m []byte) {
				if network == "tcp" {
					m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
				}
				if _, err := conn.Write(m); err != nil {
					t.Errorf("%s, %s: %v", network, name, err)
				}
			}
			good, _ := question("web", dns.TypeA).Pack()
			send(c.message)
			send(good) // its response comes second, or first if the message gets none
			codes := []int{c.code, dns.RcodeSuccess}
			if c.code < 0 {
				codes = codes[1:]
			}
			for _, want := range codes {
				got, err := (&dns.Conn{Conn: conn, UDPSize: 512}).ReadMsgHeader(nil)
				if err != nil || len(got) < 12 || int(got[3]&0xf) != want {
					t.Errorf("%s, %s: got %x, %v, want code %d", network, name, got, err, want)
				}
			}
			_ = conn.Close()
		}
	}
}

func TestUnknownEDNSVersionReturnsBADVERS(t *testing.T) {
	m := question("web", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().SetVersion(1)
	if got := start(t).ask("udp", m); got.Rcode != dns.RcodeBadVers {
		t.Errorf("%v", got)
	}
}

func TestOversizedTCPQueryClosesConnection(t *testing.T) {
	b := start(t)
	conn, err := net.Dial("tcp", b.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	_, _ = conn.Write([]byte{0xff, 0xff})
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}

// FuzzMessage checks that arbitrary messages get a valid response or none.
func FuzzMessage(f *testing.F) {
	for _, c := range hostile() {
		f.Add(c.message)
	}

	good, _ := question("web", dns.TypeA).Pack()
	f.Add(good)
	z := &zone.Zone{}
	z.Put(zone.Container{Owner: owner, Members: []zone.Member{{Network: "1", NetworkName: "n",
		Names: []string{"web"}}}})
	r := resolver.New(resolver.Config{Owner: owner, Names: z, Budgets: resolver.NewBudgets(1, 1),
		Log: slog.New(slog.DiscardHandler), Cache: cache.New(256),
		Routes: func(string) []resolver.Upstream { return nil }})
	f.Cleanup(r.Close)
	f.Fuzz(func(t *testing.T, message []byte) {
		answer := r.Answer(message)
		if answer == nil {
			return
		}
		if len(answer) < 12 || answer[2]&0x80 == 0 || !bytes.Equal(answer[:2], message[:2]) {
			t.Errorf("got response %x to %x", answer, message)
		}
		if len(answer) > 512 && new(dns.Msg).Unpack(message) == nil {
			t.Errorf("got %d bytes without EDNS, want at most 512", len(answer))
		}
	})
}

// FuzzAnswer checks that only responses to the question are accepted.
func FuzzAnswer(f *testing.F) {
	for _, c := range hostile() {
		f.Add(c.message)
	}

	q := dns.Question{Name: "web.example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	good, _ := new(dns.Msg).SetReply(question(q.Name, q.Qtype)).Pack()
	f.Add(good)
	f.Fuzz(func(t *testing.T, answer []byte) {
		if !resolver.Believes(answer, q) {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(answer); err == nil && (!m.Response || len(m.Question) != 1 ||
			!strings.EqualFold(m.Question[0].Name, q.Name)) {
			t.Errorf("accepted: %v", m)
		}
	})
}
