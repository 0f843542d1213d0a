package registry

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestInsecureHosts(t *testing.T) {
	in, err := parseInsecure([]string{"10.1.0.0/16", "registry.lan", "other.lan:5000", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}

	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:5000": true, "127.8.9.10:80": true,
		"localhost": true, "localhost:5000": true, "[::1]:5000": true,
		"r.localhost:1": true, "[::ffff:127.0.0.1]:5000": true,
		"10.1.2.3": true, "10.1.2.3:5000": true, "10.2.0.1:5000": false,
		"192.168.1.1": false, "[2001:db8::5]:443": true, "[2001:db9::5]": false,
		"registry.lan": true, "registry.lan:5000": true, "other.lan:5000": true,
	} {
		if got := in.allows(context.Background(), host); got != want {
			t.Errorf("%s: got %v, want %v", host, got, want)
		}
	}

	none, err := parseInsecure(nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, host := range []string{"registry.lan", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"} {
		if none.allows(context.Background(), host) {
			t.Errorf("%s is allowed without configuration", host)
		}
	}
}

func TestPlainHTTPIsRejectedBeforeSending(t *testing.T) {
	in, err := parseInsecure(nil)
	if err != nil {
		t.Fatal(err)
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://10.0.0.1/token", nil)
	if err != nil {
		t.Fatal(err)
	}

	resp, err := newTransport(in, responseTimeout).RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}

	if _, ok := errors.AsType[*plainHTTPError](err); !ok {
		t.Errorf("got %v, want a plainHTTPError", err)
	}
}

func TestParseMirror(t *testing.T) {
	for s, want := range map[string]mirror{
		"https://m.example": {"m.example", false}, "http://127.0.0.1:5000/": {"127.0.0.1:5000",
			true}, "https://[::1]:5000": {"[::1]:5000", false},
	} {
		if got, err := parseMirror(s); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", s, got, err, want)
		}
	}
}

func FuzzParseHosts(f *testing.F) {
	for _, s := range []string{"https://m.example", "10.0.0.0/8", "r.example:5000", "http://u:p@x/y?z#w", "[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseMirror(s); err != nil && !fault.Is(err, fault.Invalid) || err == nil && m.host == "" {
			t.Errorf("mirror %q: %v, %v", s, m, err)
		}
		if _, err := parseInsecure([]string{s}); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("insecure registry %q: %v", s, err)
		}
	})
}
