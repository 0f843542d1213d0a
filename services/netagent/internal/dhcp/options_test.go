package dhcp

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/fairlead/fairlead/services/netagent/internal/frame"
	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

// offered4 returns the terms that a client accepts from an offer with options.
func offered4(t *testing.T, with ...dhcpv4.Modifier) lease.Terms {
	t.Helper()
	var ask frame.UDP
	w := &wire{server: func(u frame.UDP) [][]byte { ask = u; return nil }}
	f := &v4Exchange{who: client(), xid: 7}
	_ = w.Write(f.request(lease.NewInit(time.Now(), netip.Addr{}, netip.Addr{})))
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
		dhcpv4.OptionClasslessStaticRoute, optMSRoutes} {
		if !read4(t, ask).IsOptionRequested(code) {
			t.Errorf("option %d is not requested", code.Code())
		}
	}
	a, ok := f.answer(reply4(t, ask, dhcpv4.MessageTypeOffer, with...), false, nil)
	if !ok {
		t.Fatal("offer was ignored")
	}
	return a.Terms
}

func raw4(code uint8, data ...byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), data))
}

func TestStaticRoutesReplaceRouters(t *testing.T) {
	// 0.0.0.0/0 via 10.0.0.254, 172.16.0.0/12 via 10.0.0.3, 192.168.7.0/24 on-link
	some := []byte{0, 10, 0, 0, 254, 12, 172, 16, 10, 0, 0, 3, 24, 192, 168, 7, 0, 0, 0, 0}
	routes := "172.16.0.0/12 via 10.0.0.3 192.168.7.0/24"
	for name, c := range map[string]struct {
		with           []dhcpv4.Modifier
		router, routes string
	}{
		"no routes":       {nil, "10.0.0.1", ""},
		"routes":          {[]dhcpv4.Modifier{raw4(121, some...)}, "10.0.0.254", routes},
		"those of before": {[]dhcpv4.Modifier{raw4(249, some...)}, "10.0.0.254", routes},
		"both": {[]dhcpv4.Modifier{raw4(121, some...), raw4(249, 8, 11, 10, 0, 0, 4)},
			"10.0.0.254", routes},
		"without a default route": {[]dhcpv4.Modifier{raw4(121, some[5:]...)}, "", routes},
		"host bits": {[]dhcpv4.Modifier{raw4(121, 12, 172, 31, 10, 0, 0, 3)}, "",
			"172.16.0.0/12 via 10.0.0.3"},
		"truncated": {[]dhcpv4.Modifier{raw4(121, some[:17]...)}, "10.0.0.1", ""},
		"truncated, option 249 valid": {[]dhcpv4.Modifier{raw4(121, 8, 11), raw4(249, 8, 11, 10, 0, 0, 4)}, "",
			"11.0.0.0/8 via 10.0.0.4"},
		"prefix too long": {[]dhcpv4.Modifier{raw4(121, 33, 1, 2, 3, 4, 5, 10, 0, 0, 3)}, "10.0.0.1", ""},
		"invalid next hops": {[]dhcpv4.Modifier{raw4(121, 8, 11, 10, 0, 9, 9, 8, 12, 255, 255, 255, 255, 8,
			13, 10, 0, 0, 10, 8, 14, 10, 0, 0, 255, 8, 15, 10, 0, 0, 0)}, "", ""},
		"invalid destinations": {[]dhcpv4.Modifier{raw4(121, 8, 127, 10, 0, 0, 3, 4, 224, 10, 0, 0, 3, 4, 240,
			10, 0, 0, 3, 24, 10, 0, 0, 10, 0, 0, 3)}, "", ""},
		"twice": {[]dhcpv4.Modifier{raw4(121, 8, 11, 10, 0, 0, 3, 8, 11, 10, 0, 0, 4, 0, 10, 0,
			0, 5, 0, 10, 0, 0, 6)}, "10.0.0.5", "11.0.0.0/8 via 10.0.0.3"},
		"by a router on the link": {[]dhcpv4.Modifier{raw4(121, 32, 192, 168, 7, 1, 0, 0, 0, 0, 0, 192, 168, 7,
			1)}, "192.168.7.1", "192.168.7.1/32"},
		"a router at the very end": {[]dhcpv4.Modifier{dhcpv4.WithRouter(net.IPv4(10, 0, 0, 255))}, "", ""},
	} {
		got := offered4(t, c.with...)
		var texts []string
		for _, r := range got.Routes {
			texts = append(texts, r.String())
		}
		router := ""
		if got.Router.IsValid() {
			router = got.Router.String()
		}
		if router != c.router || strings.Join(texts, " ") != c.routes {
			t.Errorf("%s: got router %q, routes %q; want %q, %q", name, router, texts, c.router, c.routes)
		}
	}
	var many []byte
	for i := range 200 {
		many = append(many, 24, 172, 16, byte(i), 10, 0, 0, 3)
	}
	if got := offered4(t, raw4(121, many[:8*31]...),
		dhcpv4.WithOption(dhcpv4.OptGeneric(optMSRoutes, nil))); len(got.Routes) != 31 {
		t.Errorf("got %d of 31 routes", len(got.Routes))
	}
	if got := (lease.Terms{Address: netip.MustParsePrefix("10.0.0.10/24")}).WithRoutes(all(many)); len(
		got.Routes) != 64 {
		t.Errorf("got %d of 200 routes", len(got.Routes))
	}
}

func all(data []byte) (out []lease.Route) {
	var routes dhcpv4.Routes
	_ = routes.FromBytes(data)
	for _, r := range routes {
		route, _ := route4(r)
		out = append(out, route)
	}
	return out
}

func TestSearchDomainsAreFiltered(t *testing.T) {
	list := func(names ...string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: names}))
	}
	domain := func(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptDomainName(s)) }
	for name, c := range map[string]struct {
		with []dhcpv4.Modifier
		want []string
	}{
		"none":             {nil, nil},
		"the client's own": {[]dhcpv4.Modifier{domain("lan.test")}, []string{"lan.test"}},
		"as in C":          {[]dhcpv4.Modifier{domain("lan.test\x00")}, []string{"lan.test"}},
		"a list": {[]dhcpv4.Modifier{domain("lan.test"), list("b.test", "A.test", "a.test")},
			[]string{"b.test", "A.test"}},
		"a list of rubbish":   {[]dhcpv4.Modifier{domain("lan.test"), list("a b")}, []string{"lan.test"}},
		"a line of one's own": {[]dhcpv4.Modifier{domain("a\nnameserver 6.6.6.6")}, nil},
		"in a list too": {[]dhcpv4.Modifier{list("a\nnameserver 6.6.6.6", "good.test", "a b", "-a",
			"a\x00b", "\x1b[31m", "a;b", "a#b", "é")}, []string{"good.test"}},
		"with pointers": {[]dhcpv4.Modifier{raw4(119, 3, 'e', 'n', 'g', 3, 'l', 'a', 'n', 0, 1, 'x', 0xc0,
			4, 1, 'y', 0xc0, 9)}, []string{"eng.lan", "x.lan", "y.x.lan"}},
		"a pointer to itself":   {[]dhcpv4.Modifier{raw4(119, 1, 'a', 0, 0xc0, 3)}, []string{"a"}},
		"pointers in a circle":  {[]dhcpv4.Modifier{raw4(119, 1, 'a', 0xc0, 0)}, nil},
		"a pointer ahead":       {[]dhcpv4.Modifier{raw4(119, 0xc0, 2, 1, 'a', 0)}, nil},
		"truncated":             {[]dhcpv4.Modifier{raw4(119, 1, 'a', 0, 9, 'b')}, []string{"a"}},
		"without an end":        {[]dhcpv4.Modifier{raw4(119, 1, 'a')}, nil},
		"of an unknown kind":    {[]dhcpv4.Modifier{raw4(119, 0x41, 'a', 0)}, nil},
		"a dot within a label":  {[]dhcpv4.Modifier{raw4(119, 3, 'a', '.', '.', 0)}, nil},
		"too long a name":       {[]dhcpv4.Modifier{domain(strings.Repeat("a.", 127) + "b")}, nil},
		"too long a label":      {[]dhcpv4.Modifier{domain(strings.Repeat("a", 64))}, nil},
		"the root, and nothing": {[]dhcpv4.Modifier{raw4(119, 0, 0), domain(".")}, nil},
	} {
		if got := offered4(t, c.with...).Search; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, "d"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	if got := lease.FilterSearch(many); len(got) != 16 {
		t.Errorf("got %d of 100 domains", len(got))
	}
}

func TestSearchDomainsOfIPv6(t *testing.T) {
	router := &frame.Router{Addr: netip.MustParseAddr("fe80::9"), Lifetime: time.Hour,
		Search: []string{"router.test", "a\nb"}}
	had := lease.Terms{Protocol: lease.ByDHCPv6, Address: netip.MustParsePrefix("fd00::10/64"),
		Search: []string{"before.test"}}
	for name, c := range map[string]struct {
		router *frame.Router
		sent   []string
		want   []string
	}{
		"the server's":                     {router, []string{"server.test", "x y"}, []string{"server.test"}},
		"else the router's":                {router, nil, []string{"router.test"}},
		"else the previous ones":           {nil, nil, []string{"before.test"}},
		"none if a router advertises none": {&frame.Router{Addr: router.Addr}, nil, nil},
	} {
		s := newSix(client(), linkLocal, c.router)
		msg := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: s.xid}
		if c.sent != nil {
			msg.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: c.sent}))
		}
		ia := &dhcpv6.OptIANA{IaId: [4]byte{0xde, 0xad, 0xbe, 0xef}}
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("fd00::10"), PreferredLifetime: time.Minute,
			ValidLifetime: time.Minute})
		msg.AddOption(ia)
		if got, ok := s.terms(msg, had); !ok || !reflect.DeepEqual(got.Search, c.want) {
			t.Errorf("%s: %v, %q, want %q", name, ok, got.Search, c.want)
		}
	}
	request, err := dhcpv6.MessageFromBytes(requestOf(t, had, time.Minute, false).Payload)
	if err != nil || !request.IsOptionRequested(dhcpv6.OptionDomainSearchList) {
		t.Errorf("got requested options %v, %v", request, err)
	}
	router.Prefixes = []frame.Prefix{{Prefix: netip.MustParsePrefix("fd00::/64"), Autonomous: true,
		Valid: time.Hour, Preferred: time.Hour}}
	if got, ok := SLAACTerms(router, linkLocal); !ok || !reflect.DeepEqual(got.Search, []string{"router.test"}) {
		t.Errorf("SLAAC: %v %q", ok, got.Search)
	}
}
