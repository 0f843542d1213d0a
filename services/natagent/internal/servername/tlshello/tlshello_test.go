package tlshello_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/servername/tlshello"
)

// hello returns the first record of Go's client.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = tls.Client(client, config).Handshake() }()
	buffer := make([]byte, 64<<10)
	n, err := server.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

// message returns a ClientHello with extensions, in records of at most size bytes.
func message(size int, extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 1, 1, 0)
	all := bytes.Join(extensions, nil)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(all))), all...)
	m := append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	var out []byte
	for len(m) > 0 {
		n := min(size, len(m))
		out = append(out, record(22, m[:n])...)
		m = m[n:]
	}
	return out
}

func record(kind byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 3, 1}, uint16(len(data))), data...)
}

func extension(kind uint16, data []byte) []byte {
	out := binary.BigEndian.AppendUint16(nil, kind)
	return append(binary.BigEndian.AppendUint16(out, uint16(len(data))), data...)
}

// sni returns the extension with names of one type.
func sni(kind byte, names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(binary.BigEndian.AppendUint16(append(list, kind), uint16(len(n))), n...)
	}
	return extension(0, append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
}

// read reads data in parts of n bytes, and returns the names, or the error.
func read(data []byte, n int) string {
	var r tlshello.Reader
	var names []string
	for len(data) > 0 {
		part := data[:min(n, len(data))]
		if k := min(r.Skippable(), len(part)); k > 0 {
			r.Skip(k)
			data = data[k:]
			continue
		}
		k, err := r.Feed(part)
		for _, name := range r.Take() {
			names = append(names, "["+name+"]")
		}
		if err != nil {
			return strings.Join(append(names, err.Error()), " ")
		}
		data = data[k:]
	}
	if r.Hellos() != len(names) {
		return "incomplete"
	}
	return strings.Join(names, " ")
}

func TestReader(t *testing.T) {
	const notTLS, invalid = "is not TLS", "has a ClientHello that is not valid"
	a, b := message(1000, sni(0, "a.test")), message(1000, sni(0, "b.test"))
	data, change := record(23, make([]byte, 2000)), record(20, []byte{1})
	padding := extension(21, make([]byte, 20000))
	for _, c := range []struct {
		what string
		data []byte
		want string
	}{
		{"Go's client", hello(t, &tls.Config{ServerName: "Go.test"}), "[go.test]"},
		{"TLS 1.2", hello(t, &tls.Config{ServerName: "go.test", MaxVersion: tls.VersionTLS12}), "[go.test]"},
		{"no name", hello(t, &tls.Config{InsecureSkipVerify: true}), "[]"},
		{"after other extensions", message(1000, extension(10, []byte{0, 2, 0, 29}), sni(0, "a.test")), "[a.test]"},
		{"several records", message(10, sni(0, "a.test")), "[a.test]"},
		{"large", message(16384, padding, sni(0, "a.test")), "[a.test]"},
		{"very large", message(16384, padding, padding, padding, sni(0, "a.test")), "[a.test]"},
		{"no extensions", message(1000), "[]"},
		{"second hello", append(append(append(bytes.Clone(a), change...), data...), b...), "[a.test] [b.test]"},
		{"two names", message(1000, sni(0, "a.test", "b.test")), invalid},
		{"two extensions", message(1000, sni(0, "a.test"), sni(0, "b.test")), invalid},
		{"another type of name", message(1000, sni(1, "a.test")), invalid},
		{"empty name", message(1000, sni(0, "")), invalid},
		{"zero byte", message(1000, sni(0, "a.test\x00.b.test")), invalid},
		{"long name", message(1000, sni(0, strings.Repeat("a", 256))), invalid},
		{"rest in the extension", message(1000, extension(0, append(sni(0, "a.test")[4:], 0))), invalid},
		{"extension too long", message(1000, []byte{0, 10, 1, 0}), invalid},
		{"rest in the record", record(22, append(a[5:], 0)), invalid},
		{"another message", record(22, []byte{2, 0, 0, 0}), invalid},
		{"empty record", record(22, nil), notTLS},
		{"data first", data, notTLS},
		{"data within", append(message(10, sni(0, "a.test"))[:15], data...), notTLS},
		{"SSL 2", []byte{0x80, 46, 1, 3, 1}, notTLS},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), notTLS},
		{"another version", []byte{22, 4}, notTLS},
		{"part", a[:len(a)-1], ""},
	} {
		want := c.want
		for _, n := range []int{1, 7, len(c.data)} {
			if got := read(c.data, n); got != want {
				t.Errorf("%s, in parts of %d: got %q, want %q", c.what, n, got, want)
			}
		}
	}

	huge := message(16384, padding, padding, padding, padding)
	if got := read(huge, len(huge)); got != invalid {
		t.Errorf("huge: got %q", got)
	}
}

func TestAsksAgain(t *testing.T) {
	random := []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
		"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")
	retry := record(22, append([]byte{2, 0, 0, 40, 3, 3}, append(random, 0)...))
	normal := bytes.Clone(retry)
	normal[20]++
	for _, c := range []struct {
		data      []byte
		again, ok bool
	}{{retry, true, true}, {normal, false, true}, {retry[:30], false, false}, {nil, false, false},
		{record(21, []byte{2, 40}), false, true}} {
		if again, ok := tlshello.AsksAgain(c.data); again != c.again || ok != c.ok {
			t.Errorf("%x: got %v, %v", c.data, again, ok)
		}
	}
}

// FuzzReader checks that the parts in which bytes come do not matter.
func FuzzReader(f *testing.F) {
	f.Add(hello(f, &tls.Config{ServerName: "a.test"}), 3)
	f.Add(message(10, sni(0, "a.test")), 100)
	f.Add(append(message(10, sni(0, "a.test")), record(23, []byte("x"))...), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 1 {
			return
		}
		if a, b := read(data, n), read(data, max(1, len(data))); a != b {
			t.Errorf("in parts: %q, undivided: %q", a, b)
		}
	})
}
