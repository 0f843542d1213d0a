package egress_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/proto/egress"
)

func TestContinues(t *testing.T) {
	tls := egress.Target{Addr: netip.MustParseAddr("198.51.100.7"), Protocol: egress.TCP, Port: 443}
	quic, private := tls, tls
	quic.Protocol, private.Protocol, private.Addr = egress.UDP, egress.UDP, netip.MustParseAddr("10.0.0.7")
	for _, c := range []struct {
		before, after string
		target        egress.Target
		want          bool
	}{
		{"a.test", "a.test", tls, true},
		{"a.test:443", "a.test,!198.51.100.9", tls, true},
		{"a.test:443", "a.test:443/any-name,b.test", tls, true},
		{"a.test,b.test:80", "a.test", tls, true}, // it was not for b.test
		{"a.test,b.test", "a.test", tls, false},   // it can be
		{"www.a.test", "*.a.test", tls, true},     // more names
		{"*.www.a.test", "*.a.test", tls, true},   //
		{"*.a.test", "www.a.test", tls, false},    // fewer
		{"a.test", "a.test:80", tls, false},       // other ports
		{"a.test", "a.test,!b.test", tls, false},  // it can be for a name that is denied now
		{"a.test,!*.b.test", "a.test,!x.b.test", tls, true},
		{"*.test,!b.test:80", "*.test,!b.test", tls, false},
		{"198.51.100.0/24", "a.test", tls, false}, // it was for no name
		{"a.test,a.test/quic", "a.test,a.test/quic", quic, true},
		{"a.test:443/udp", "a.test/quic", quic, false}, // it was not checked
		{"a.test/quic", "a.test:443/udp", quic, true},
		{"a.test/quic", "a.test", quic, false}, // QUIC is refused
		{"a.test", "a.test", quic, false},
		{"a.test", "a.test", private, true}, // no name is checked there
	} {
		if got := parse(t, c.before).Continues(parse(t, c.after), c.target); got != c.want {
			t.Errorf("%s to %s, %s %s: got %v", c.before, c.after, c.target.Protocol, c.target.Addr, got)
		}
	}
}
