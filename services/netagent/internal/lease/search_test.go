package lease_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

func FuzzSearchDomains(f *testing.F) {
	f.Add([]byte("\x03eng\x03lan\x00\x01x\xc0\x04\x01y\xc0\x09"))
	f.Add([]byte("\x02a\n\x00\xc0\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names := lease.Names(data)
		if len(names) > 32 {
			t.Errorf("got %d names, want at most 32", len(names))
		}
		got := lease.FilterSearch(append(names, string(data)))
		if len(got) > 16 {
			t.Errorf("got %d domains, want at most 16", len(got))
		}
		for _, s := range got {
			if len(s) > 253 || len(strings.Fields(s)) != 1 || strings.Fields(s)[0] != s || strings.ContainsAny(s,
				"#;\x00\x1b") || strings.HasSuffix(s, ".") {
				t.Errorf("got %q, want a domain name", s)
			}
		}
	})
}

func TestSameConfigComparesRoutesAndDomains(t *testing.T) {
	one := lease.Terms{Address: ten, Search: []string{"a"},
		Routes: []lease.Route{{To: netip.MustParsePrefix("172.16.0.0/12"), Via: other.Addr()}}}
	same := one
	same.Server, same.Search = []byte{1}, []string{"a"}
	if !one.SameConfig(same) {
		t.Error("got a difference for another server")
	}

	domains, routes := one, one
	domains.Search, routes.Routes = []string{"a", "b"}, nil
	if one.SameConfig(domains) || one.SameConfig(routes) {
		t.Error("got no difference for other domains or routes")
	}
}
