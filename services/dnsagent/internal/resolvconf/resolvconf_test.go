package resolvconf_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       resolvconf.Conf
	}{
		{"empty", "", resolvconf.Conf{}},
		{"comments", "# nameserver 1.1.1.1\n;search a\n", resolvconf.Conf{}},
		{"all", "search a.b c.d\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\noptions ndots:2 edns0\n",
			resolvconf.Conf{Search: []string{"a.b", "c.d"}, Servers: addrs("10.0.0.1", "fe80::1%eth0"),
				Options: []string{"ndots:2", "edns0"}}},
		{"last search list applies", "search a b\ndomain c d\n", resolvconf.Conf{Search: []string{"c"}}},
		{"options accumulate", "options a\noptions b\n", resolvconf.Conf{Options: []string{"a", "b"}}},
		{"unknown lines are ignored",
			"nameserver foo\nnameserver\nsortlist 10.0.0.0\nnameserver 10.0.0.1 # mine\r\n\n",
			resolvconf.Conf{Servers: addrs("10.0.0.1")}},
		{"no newline at the end", "nameserver ::ffff:10.0.0.1", resolvconf.Conf{Servers: addrs("10.0.0.1")}},
	} {
		if got := resolvconf.Parse([]byte(c.file)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestRender(t *testing.T) {
	c := resolvconf.Conf{Search: []string{"a", "b"}, Servers: addrs("1.1.1.1", "2606::1"),
		Options: []string{"ndots:0", "edns0"}}
	want := "search a b\nnameserver 1.1.1.1\nnameserver 2606::1\noptions ndots:0 edns0\n"
	if got := string(c.Render()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := (resolvconf.Conf{}).Render(); len(got) != 0 {
		t.Errorf("empty settings: got %q", got)
	}
}

func FuzzParseRender(f *testing.F) {
	f.Add([]byte("search a.b c.d\nnameserver 10.0.0.1\noptions ndots:2\n"))
	f.Add([]byte("nameserver fe80::1%eth0\r\ndomain x\n; no\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		once := resolvconf.Parse(file)
		rendered := once.Render()
		if twice := resolvconf.Parse(rendered); !reflect.DeepEqual(once, twice) {
			t.Fatalf("%q: parsed %+v, rendered %q, parsed %+v", file, once, rendered, twice)
		}
	})
}

func FuzzValidValues(f *testing.F) {
	f.Add("1.1.1.1", "a.b", "ndots:2")
	f.Add("fe80::1%a b\nnameserver 6.6.6.6", "a\nnameserver 6.6.6.6", "a b")
	f.Fuzz(func(t *testing.T, server, search, option string) {
		addr, ok := resolvconf.ParseServer(server)
		if !ok || search == "." || !resolvconf.ValidSearch(search) || !resolvconf.ValidOption(option) {
			return
		}
		c := resolvconf.Conf{Search: []string{search}, Servers: []netip.Addr{addr}, Options: []string{option}}
		got := c.Render()
		if bytes.Count(got, []byte("\n")) != 3 || len(bytes.Fields(got)) != 6 ||
			!reflect.DeepEqual(resolvconf.Parse(got), c) {
			t.Fatalf("%+v: got %q", c, got)
		}
	})
}

func TestValidValues(t *testing.T) {
	for s, want := range map[string]bool{
		"baidu.com": true, "corp": true, "a-b.c_d.": true, ".": true, "_msdcs.example.com": true,
		"": false, "bad domain!": false, "a..b": false, "-a": false, "a-.b": false, "a\nb": false,
		"a\n": false, "..": false,
		strings.Repeat("a.", 126) + "b": true, strings.Repeat("a.", 127) + "b": false,
	} {
		if got := resolvconf.ValidSearch(s); got != want {
			t.Errorf("ValidSearch(%q): got %v, want %v", s, got, want)
		}
	}

	for s, want := range map[string]bool{
		"ndots:2": true, "": false, "a b": false, "a\nnameserver 6.6.6.6": false, "a\x1b": false, "\xff": false,
	} {
		if got := resolvconf.ValidOption(s); got != want {
			t.Errorf("ValidOption(%q): got %v, want %v", s, got, want)
		}
	}

	for s, want := range map[string]bool{
		"1.1.1.1": true, "fe80::1%eth0": true, "::1": true,
		"": false, "foo": false, "1.1.1.1:53": false, "fe80::1%a b": false, "fe80::1%a\nnameserver 6.6.6.6": false,
	} {
		if _, got := resolvconf.ParseServer(s); got != want {
			t.Errorf("ParseServer(%q): got %v, want %v", s, got, want)
		}
	}
}

func TestForContainerKeepsReachableServers(t *testing.T) {
	public4 := addrs("8.8.8.8", "8.8.4.4")
	public6 := append(addrs("8.8.8.8", "8.8.4.4"), addrs("2001:4860:4860::8888", "2001:4860:4860::8844")...)
	for _, c := range []struct {
		name string
		host []netip.Addr
		ipv6 bool
		want []netip.Addr
	}{
		{"the host's", addrs("10.0.0.1", "10.0.0.2"), false, addrs("10.0.0.1", "10.0.0.2")},
		{"loopback is the host's own", addrs("127.0.0.1", "10.0.0.1", "::1", "127.8.8.8"), true, addrs("10.0.0.1")},
		{"a zone is the host's own", addrs("fe80::1%eth0", "fd00::1"), true, addrs("fd00::1")},
		{"IPv6 needs IPv6", addrs("fd00::1", "10.0.0.1"), false, addrs("10.0.0.1")},
		{"only loopback", addrs("127.0.0.53", "::1"), false, public4},
		{"only loopback, with IPv6", addrs("127.0.0.53"), true, public6},
		{"none", nil, false, public4},
		{"only out of reach", addrs("fd00::1"), false, public4},
	} {
		host := resolvconf.Conf{Search: []string{"corp"}, Servers: c.host, Options: []string{"edns0"}}
		got := host.ForContainer(c.ipv6)
		if !reflect.DeepEqual(got.Servers, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got.Servers, c.want)
		}
		if public := got.Servers[0] == public4[0]; public != (got.Options == nil) {
			t.Errorf("%s: got servers %v with options %v", c.name, got.Servers, got.Options)
		}
		if len(got.Search) != 1 {
			t.Errorf("%s: got search list %v", c.name, got.Search)
		}
	}
}

func TestMergePrecedence(t *testing.T) {
	host := resolvconf.Conf{Search: []string{"host"}, Servers: addrs("10.0.0.1"), Options: []string{"host"}}
	configured := resolvconf.Conf{Search: []string{"conf"}, Servers: addrs("10.0.0.2"), Options: []string{"conf"}}
	flags := resolvconf.Conf{Search: []string{"flag"}, Servers: addrs("10.0.0.3"), Options: []string{"flag"}}
	none := resolvconf.Conf{}
	for _, c := range []struct {
		name              string
		flags, configured resolvconf.Conf
		want              resolvconf.Conf
	}{
		{"no settings", none, none, host},
		{"configured", none, configured, configured},
		{"flags", flags, configured, flags},
		{"servers alone drop the host's options", resolvconf.Conf{Servers: flags.Servers}, none,
			resolvconf.Conf{Search: host.Search, Servers: flags.Servers}},
		{"servers alone keep the configured options", resolvconf.Conf{Servers: flags.Servers}, configured,
			resolvconf.Conf{Search: configured.Search, Servers: flags.Servers, Options: configured.Options}},
		{"a search list alone", resolvconf.Conf{Search: flags.Search}, none,
			resolvconf.Conf{Search: flags.Search, Servers: host.Servers, Options: host.Options}},
		{"options alone", resolvconf.Conf{Options: flags.Options}, none, resolvconf.Conf{Search: host.Search,
			Servers: host.Servers, Options: flags.Options}},
		{"no search list", resolvconf.Conf{Search: []string{"."}}, configured,
			resolvconf.Conf{Servers: configured.Servers, Options: configured.Options}},
	} {
		if got := c.flags.Merge(c.configured).MergeHost(host); string(got.Render()) != string(c.want.Render()) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}

	if host.Search[0] != "host" || host.Options[0] != "host" {
		t.Error("host settings were modified")
	}
}

func TestIsStub(t *testing.T) {
	for file, want := range map[string]bool{
		"nameserver 127.0.0.53\noptions edns0 trust-ad\n": true, "nameserver 127.0.0.53\nnameserver 127.0.0.53\n": true,
		"": false, "nameserver 127.0.0.1\n": false, "nameserver 127.0.0.53\nnameserver 10.0.0.1\n": false,
	} {
		if got := resolvconf.Parse([]byte(file)).IsStub(); got != want {
			t.Errorf("%q: got %v, want %v", file, got, want)
		}
	}
}

func TestForContainerAlwaysHasServer(t *testing.T) {
	server := rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v6") {
			return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))).Unmap()
		}
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 53, 127}), 4, 4).Draw(t, "bytes")))
	})

	rapid.Check(t, func(t *rapid.T) {
		host := resolvconf.Conf{Servers: rapid.SliceOf(server).Draw(t, "servers")}
		ipv6 := rapid.Bool().Draw(t, "ipv6")
		got := resolvconf.Conf{}.MergeHost(host.ForContainer(ipv6))
		if len(got.Servers) == 0 {
			t.Fatal("no server")
		}
		for _, s := range got.Servers {
			if s.IsLoopback() || s.Is6() && !ipv6 {
				t.Fatalf("server %v", s)
			}
		}
	})
}

func TestForResolver(t *testing.T) {
	for file, want := range map[string]string{
		"":                        "nameserver 127.0.0.11\noptions ndots:0\n",
		"nameserver 127.0.0.53\n": "nameserver 127.0.0.11\noptions ndots:0\n",
		"nameserver 10.0.0.1\nsearch corp\noptions timeout:1 ndots:5\n": "search corp\n" +
			"nameserver 127.0.0.11\noptions timeout:1 ndots:5\n",
		"nameserver 10.0.0.1\noptions rotate\n": "nameserver 127.0.0.11\n" +
			"options rotate ndots:0\n",
		"options ndots:many ndots: ndots:-1 rotate\n": "nameserver 127.0.0.11\n" +
			"options rotate ndots:0\n",
	} {
		conf := resolvconf.Parse([]byte(file))
		if got := string(conf.ForResolver().Render()); got != want {
			t.Errorf("%q: got %q, want %q", file, got, want)
		}
		if string(conf.Render()) != string(resolvconf.Parse([]byte(file)).Render()) {
			t.Errorf("%q: settings were modified", file)
		}
	}

	servers := []netip.Addr{netip.MustParseAddr("127.0.0.11"), netip.MustParseAddr("1.1.1.1")}
	if got := resolvconf.WithoutResolver(servers); len(got) != 1 || got[0] != servers[1] {
		t.Errorf("got %v", got)
	}
}
