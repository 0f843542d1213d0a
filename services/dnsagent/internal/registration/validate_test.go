package registration_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

const other = "aaaaaaaaaaaa0123456789abcdef0123456789abcdef0123456789abcdef0123"

// resolved returns a valid registration with the embedded resolver, which change modifies.
func resolved(change func(*registration.Registration)) *registration.Registration {
	r := &registration.Registration{Owner: owner, Source: registration.Resolver, Hostname: "web",
		Addresses: addrs("10.1.0.2"), Networks: []registration.Network{{ID: "1", Name: "front",
			Addresses: addrs("10.1.0.2"), Names: []string{"web"}}}}
	if change != nil {
		change(r)
	}
	return r
}

func TestValidateErrorsOfNetworks(t *testing.T) {
	networks := func(change func(*registration.Network)) *registration.Registration {
		return resolved(func(r *registration.Registration) { change(&r.Networks[0]) })
	}
	long := strings.Repeat("a", 254)
	for name, c := range map[string]struct {
		r           *registration.Registration
		field, want string
	}{
		"no resolver": {resolved(func(r *registration.Registration) { r.Source = registration.Generated }), "networks",
			"names on networks require the embedded resolver"},
		"alias without resolver": {resolved(func(r *registration.Registration) {
			r.Source, r.Networks = registration.Host, nil
			r.Aliases = []registration.Alias{{Alias: "db", Name: "postgres"}}
		}), "networks", "names on networks require the embedded resolver"},
		"no id": {networks(func(n *registration.Network) { n.ID = "" }), "networks",
			`network "front" has no id or is specified twice`},
		"twice": {resolved(func(r *registration.Registration) { r.Networks = append(r.Networks, r.Networks[0]) }),
			"networks", `network "front" has no id or is specified twice`},
		"network name": {networks(func(n *registration.Network) { n.Name = "a b" }), "networks",
			`network name "a b" is not a valid DNS name`},
		"alias": {networks(func(n *registration.Network) { n.Names = []string{"web", ""} }), "network-alias",
			`"" is not a valid DNS name`},
		"long alias": {networks(func(n *registration.Network) { n.Names = []string{long} }), "network-alias",
			`"` + long + `" is not a valid DNS name`},
		"address": {networks(func(n *registration.Network) { n.Addresses = addrs("fe80::1%eth0") }), "networks",
			`"fe80::1%eth0" is not an IP address`},
		"server": {networks(func(n *registration.Network) { n.Servers = []netip.Addr{{}} }), "networks",
			`"invalid IP" is not an IP address`},
		"search": {networks(func(n *registration.Network) { n.Search = []string{"a b"} }), "dns-search",
			"a b is not a valid domain"},
		"link": {resolved(func(r *registration.Registration) {
			r.Aliases = []registration.Alias{{Alias: "db", Name: "a b"}}
		}), "link", `"db" or "a b" is not a valid DNS name`},
		"egress without resolver": {resolved(func(r *registration.Registration) {
			r.Source, r.Networks, r.Egress = registration.Generated, nil, []string{"allow:example.com:443"}
		}), "egress", "an egress policy needs the embedded resolver"},
	} {
		checkInvalid(t, name, c.r.Validate(), c.field, c.want)
	}

	if err := resolved(nil).Validate(); err != nil {
		t.Errorf("the unchanged registration: got %v", err)
	}
}

func checkInvalid(t *testing.T, name string, err error, field, want string) {
	t.Helper()
	f, ok := err.(*fault.Fault)
	if !ok || f.Kind != fault.Invalid || f.Field != field || f.Error() != "container 605c598f642b: "+want {
		t.Errorf("%s: got  %v\nwant container 605c598f642b: %s (field %s)", name, err, want, field)
	}
}

func TestValidateErrorsOfSharedNetwork(t *testing.T) {
	const both = "requires source shared, and source shared requires it"
	const combined = "addresses, hosts and name servers cannot be combined with a shared network"
	shared := registration.Registration{Owner: owner, Source: registration.Shared, SharesWith: other, Hostname: "web"}
	if err := shared.Validate(); err != nil {
		t.Errorf("got %v for a valid request", err)
	}
	for name, c := range map[string]struct {
		change func(*registration.Registration)
		want   string
	}{
		"no container": {func(r *registration.Registration) { r.SharesWith = "" }, both},
		"other source": {func(r *registration.Registration) { r.Source = registration.Generated }, both},
		"itself": {func(r *registration.Registration) { r.SharesWith = owner },
			`"` + owner + `" is not the UID of another container`},
		"a name": {func(r *registration.Registration) { r.SharesWith = "web" },
			`"web" is not the UID of another container`},
		"own address": {func(r *registration.Registration) { r.Addresses = addrs("10.0.0.1") }, combined},
		"own server":  {func(r *registration.Registration) { r.Names.Servers = addrs("1.1.1.1") }, combined},
		"own search":  {func(r *registration.Registration) { r.Names.Search = []string{"a"} }, combined},
		"own option":  {func(r *registration.Registration) { r.Names.Options = []string{"rotate"} }, combined},
		"own extra hosts": {func(r *registration.Registration) {
			r.ExtraHosts = []registration.ExtraHost{{Name: "a"}}
		}, combined},
	} {
		r := shared
		c.change(&r)
		checkInvalid(t, name, r.Validate(), "shares_with", c.want)
	}
}

func TestSharedFilesAreOfOwner(t *testing.T) {
	joined := &registration.Registration{Owner: other, Source: registration.Shared, SharesWith: owner, Hostname: "job"}
	with := &registration.Registration{Owner: owner, Source: registration.Generated, Hostname: "web",
		Addresses:  addrs("172.17.0.2", "fd00::2"),
		ExtraHosts: []registration.ExtraHost{{Name: "db", Addr: netip.MustParseAddr("10.0.0.9")}},
		Names:      resolvconf.Conf{Servers: addrs("9.9.9.9")}}
	of, got := with.Contents(ubuntu(), resolvconf.Conf{}), joined.SharedContents(with, ubuntu(), resolvconf.Conf{})
	if string(got.ResolvConf) != string(of.ResolvConf) || string(got.Hostname) != "job\n" {
		t.Errorf("got resolv.conf %q and hostname %q", got.ResolvConf, got.Hostname)
	}
	if want := string(of.Hosts) + "172.17.0.2\tjob\nfd00::2\tjob\n"; string(got.Hosts) != want {
		t.Errorf("got hosts %q, want %q", got.Hosts, want)
	}

	with.IPv6Disabled = true
	if got := joined.SharedContents(with, ubuntu(), resolvconf.Conf{}).Hosts; strings.Contains(string(got), "fd00::2") {
		t.Errorf("without IPv6: got hosts %q", got)
	}

	host := &registration.Registration{Owner: owner, Source: registration.Host}
	files := ubuntu()
	files.Hosts = []byte("127.0.0.1 localhost") // without a newline at its end
	if got := joined.SharedContents(host, files, resolvconf.Conf{}).Hosts; string(got) !=
		"127.0.0.1 localhost\n127.0.0.1\tjob\n" {
		t.Errorf("of a container on the host network: got hosts %q", got)
	}
	if string(files.Hosts) != "127.0.0.1 localhost" {
		t.Errorf("the host's file is modified: %q", files.Hosts)
	}
}

func TestSharedFilesAfterOwnerRelease(t *testing.T) {
	joined := &registration.Registration{Owner: other, Source: registration.Shared, SharesWith: owner}
	got := joined.SharedContents(nil, ubuntu(), resolvconf.Conf{})
	if want := always + "127.0.0.1\taaaaaaaaaaaa\n"; string(got.Hosts) != want {
		t.Errorf("got hosts %q, want %q", got.Hosts, want)
	}
	if string(got.Hostname) != "aaaaaaaaaaaa\n" {
		t.Errorf("got hostname %q, want the short ID", got.Hostname)
	}
}

func TestHostGatewayExpandsToUsableAddresses(t *testing.T) {
	r := registration.Registration{Owner: owner, Source: registration.Generated, Hostname: "web",
		Domainname:   "corp.example",
		HostGateways: addrs("172.17.0.1", "fd00::1"), Addresses: addrs("172.17.0.2", "fd00::2"),
		ExtraHosts: []registration.ExtraHost{{Name: "host", Gateway: true},
			{Name: "db", Addr: netip.MustParseAddr("10.0.0.9")}}}
	for disabled, want := range map[bool]string{
		false: "172.17.0.1 [host], fd00::1 [host], 10.0.0.9 [db], 172.17.0.2 [web.corp.example web], " +
			"fd00::2 [web.corp.example web]",
		true: "172.17.0.1 [host], 10.0.0.9 [db], 172.17.0.2 [web.corp.example web]",
	} {
		r.IPv6Disabled = disabled
		var got []string
		for _, record := range r.Records("box") {
			got = append(got, fmt.Sprint(record.Addr, " ", record.Names))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("IPv6 disabled %v: got  %s\nwant %s", disabled, strings.Join(got, ", "), want)
		}
	}
}

func TestUnionsOfNetworksKeepOrder(t *testing.T) {
	r := resolved(func(r *registration.Registration) {
		r.Networks = []registration.Network{
			{ID: "1", Servers: addrs("10.1.0.53", "9.9.9.9"), Search: []string{"b.example", "a.example"}},
			{ID: "2", Servers: addrs("9.9.9.9", "10.2.0.53"), Search: []string{"a.example", "c.example"}}}
	})
	if got := fmt.Sprint(r.Upstream(resolvconf.Conf{}).Servers); got != "[10.1.0.53 9.9.9.9 10.2.0.53]" {
		t.Errorf("got servers %s", got)
	}
	if got := fmt.Sprint(r.NetworkSearch()); got != "[b.example a.example c.example]" {
		t.Errorf("got search domains %s", got)
	}
}

// TestValidNamesAddNoLine renders every valid request and compares the number of lines and words.
func TestValidNamesAddNoLine(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching("[a-z0-9]{1,6}"), rapid.StringMatching("[a-z]{0,2}"),
		rapid.StringMatching("[a-z0-9]{1,3}[-.#_:]{1}[a-z]{1,3}"),
		rapid.StringMatching("[a-z.#\n\t \u00a0\u2028-]{0,3}"))
	rapid.Check(t, func(t *rapid.T) {
		r := registration.Registration{Owner: owner, Source: registration.Generated, Addresses: addrs("172.17.0.2"),
			Hostname: text.Draw(t, "hostname"), Domainname: text.Draw(t, "domainname"),
			ExtraHosts: []registration.ExtraHost{{Name: text.Draw(t, "extra"), Addr: netip.MustParseAddr("10.0.0.9")}},
			Names: resolvconf.Conf{Search: []string{text.Draw(t, "search")}, Options: []string{text.Draw(t, "option")},
				Servers: addrs("9.9.9.9")}}
		if err := r.Validate(); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error has several lines: %q", err)
			}
			return
		}

		got := r.Contents(registration.HostFiles{Name: "box"}, resolvconf.Conf{})
		lines := strings.Split(strings.TrimSuffix(string(got.Hosts), "\n"), "\n")
		fixed := strings.Count(always, "\n")
		if len(lines) != fixed+2 || len(strings.Fields(lines[fixed])) != 2 || len(strings.Fields(lines[fixed+1])) > 3 {
			t.Fatalf("got hosts %q", got.Hosts)
		}
		want := 3
		if r.Names.Search[0] == "." {
			want = 2 // it means no search list
		}
		conf := string(got.ResolvConf)
		if strings.Count(conf, "\n") != want || strings.Count(conf, "nameserver") != 1 {
			t.Fatalf("got resolv.conf %q", conf)
		}
		if strings.Count(string(got.Hostname), "\n") != 1 {
			t.Fatalf("got hostname %q", got.Hostname)
		}
	})
}

func TestQuoteValue(t *testing.T) {
	for value, want := range map[string]string{"a b": "a b", "ü": "ü", "": "", "a\nb": `"a\nb"`, "\xff": `"\xff"`,
		"a\x1b[31m": `"a\x1b[31m"`} {
		if got := registration.QuoteValue(value); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
