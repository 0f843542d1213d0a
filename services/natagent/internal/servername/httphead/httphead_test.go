package httphead_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/natagent/internal/servername/httphead"
)

// read reads data in parts of n bytes, and returns the names, or the error.
func read(data string, n int) string {
	var r httphead.Reader
	var names []string
	for len(data) > 0 {
		part := data[:min(n, len(data))]
		if k := min(r.Skippable(), int64(len(part))); k > 0 {
			r.Skip(int(k))
			data = data[k:]
			continue
		}
		k, err := r.Feed([]byte(part))
		names = append(names, r.Take()...)
		if err != nil {
			return strings.Join(append(names, err.Error()), " ")
		}
		data = data[k:]
	}
	return strings.Join(names, " ")
}

func TestReader(t *testing.T) {
	const notHTTP, invalid, noHost, switched = "is not HTTP/1", "has a request that is not valid",
		"has a request without a host name", "changes the protocol of the connection"
	get := func(lines ...string) string {
		return "GET / HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	a, b := get("Host: a.test"), get("Host: b.test")
	chunked := get("Host: a.test", "Transfer-Encoding: chunked")
	for _, c := range []struct{ what, data, want string }{
		{"one", a, "a.test"},
		{"several", a + b + a, "a.test b.test a.test"},
		{"port, case and dot", get("hOST:\t A.Test.:8080 "), "a.test."},
		{"address", get("Host: 198.51.100.7:80"), "198.51.100.7"},
		{"IPv6", get("Host: [2001:DB8::1]:80"), "2001:db8::1"},
		{"empty lines before", "\r\n\r\n" + a, "a.test"},
		{"with a scheme", "GET http://b.test:80/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test b.test"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", "a.test"},
		{"OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test"},
		{"body", get("Host: a.test", "Content-Length: 10") + b[:10] + b, "a.test b.test"},
		{"empty body", get("Host: a.test", "Content-Length: 0") + b, "a.test b.test"},
		{"chunks", chunked + "5\r\nabcde\r\n1F;x=y\r\n" + strings.Repeat("\n", 31) + "\r\n0\r\nHost: c\r\n\r\n" + b,
			"a.test b.test"},
		{"upgrade", get("Host: a.test", "Upgrade: websocket"), "a.test"},
		{"after an upgrade", get("Host: a.test", "Upgrade: websocket") + b, "a.test " + switched},
		{"late upgrade", a + get("Host: a.test", "Upgrade: websocket"), "a.test a.test " + switched},
		{"upgrade with a body", get("Host: a.test", "Upgrade: h2c", "Content-Length: 1"), "a.test " + switched},

		{"no host", get("Accept: *"), noHost},
		{"two hosts", get("Host: a.test", "Host: b.test"), noHost},
		{"empty host", get("Host:"), noHost},
		{"list", get("Host: a.test, b.test"), noHost},
		{"user", "GET http://a.test@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", noHost},
		{"bad port", get("Host: a.test:x"), noHost},
		{"bad brackets", get("Host: [::1]x"), noHost},
		{"HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", noHost},
		{"HTTP/0.9", "GET /\r\n", notHTTP},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", notHTTP},
		{"TLS", "\x16\x03\x01", notHTTP},
		{"SSH", "SSH-2.0-x\r\n", notHTTP},
		{"CONNECT", "CONNECT b.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", invalid},
		{"another scheme", "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", invalid},
		{"no slash", "GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", invalid},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n", notHTTP},
		{"line feed", "GET / HTTP/1.1\nHost: a.test\n\n", invalid},
		{"line feed in a header", "GET / HTTP/1.1\r\nX: y\nHost: a.test\r\n\r\n", invalid},
		{"carriage return in a header", "GET / HTTP/1.1\r\nX: y\rHost: a.test\r\n\r\n", invalid},
		{"folded", get("Host: a.test", " b.test"), invalid},
		{"space before the colon", get("Host : a.test"), invalid},
		{"no colon", get("Host a.test"), invalid},
		{"two lengths", get("Host: a.test", "Content-Length: 1", "Content-Length: 1"), invalid},
		{"signed length", get("Host: a.test", "Content-Length: +1"), invalid},
		{"list of lengths", get("Host: a.test", "Content-Length: 1, 1"), invalid},
		{"large length", get("Host: a.test", "Content-Length: 9223372036854775808"), invalid},
		{"length and chunks", get("Host: a.test", "Content-Length: 1", "Transfer-Encoding: chunked"), invalid},
		{"another coding", get("Host: a.test", "Transfer-Encoding: gzip, chunked"), invalid},
		{"two codings", get("Host: a.test", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), invalid},
		{"chunks in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", invalid},
		{"size of a chunk", chunked + "0x5\r\n", "a.test " + invalid},
		{"end of a chunk", chunked + "1\r\naa\r\n", "a.test " + invalid},
		{"long line", "GET /" + strings.Repeat("a", httphead.MaxHead), invalid},
		{"long head", get(strings.Repeat("X: y\r\n", httphead.MaxHead/6)), invalid},
	} {
		for _, n := range []int{1, 7, len(c.data)} {
			if got := read(c.data, n); got != c.want {
				t.Errorf("%s, in parts of %d: got %q, want %q", c.what, n, got, c.want)
			}
		}
	}
}

func TestReply(t *testing.T) {
	for _, c := range []struct {
		upgrade, reply, want string
	}{
		{"WebSocket", "HTTP/1.1 101 Switching Protocols\r\n", "opaque"},
		{"websocket", "HTTP/1.1 200 OK\r\n", "a.test"},
		{"h2c", "HTTP/1.1 200 OK\r\n", "a.test"},
		{"h2c", "HTTP/1.1 101 Switching Protocols\r\n", "changes the protocol of the connection"},
		{"websocket", "HTTP/1.1 10", "a.test"},
	} {
		var r httphead.Reader
		request := "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: " + c.upgrade + "\r\n\r\n"
		if _, err := r.Feed([]byte(request)); err != nil {
			t.Fatal(err)
		}
		r.Take()
		got := ""
		switch opaque, err := r.Reply([]byte(c.reply)); {
		case err != nil:
			got = err.Error()
		case opaque:
			got = "opaque"
		default:
			if _, err := r.Feed([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
				t.Error(err)
			}
			got = strings.Join(r.Take(), " ")
		}
		if got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.upgrade, c.reply, got, c.want)
		}
	}
}

// FuzzReader checks that the parts in which bytes come do not matter.
func FuzzReader(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET", 3)
	f.Add("POST http://b.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 2)
	f.Fuzz(func(t *testing.T, data string, n int) {
		if n < 1 {
			return
		}
		if a, b := read(data, n), read(data, max(1, len(data))); a != b {
			t.Errorf("in parts: %q, undivided: %q", a, b)
		}
	})
}
