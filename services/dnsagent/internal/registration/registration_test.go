package registration_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

const owner = "605c598f642b0123456789abcdef0123456789abcdef0123456789abcdef0123"

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// ubuntu returns the files of a host with systemd-resolved.
func ubuntu() registration.HostFiles {
	return registration.HostFiles{
		Name:         "box",
		Hostname:     []byte("box # mine\n"),
		Hosts:        []byte("127.0.0.1 localhost box\n10.1.1.1 printer\n"),
		ResolvConf:   []byte("# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch corp.example\n"),
		ResolvedConf: []byte("nameserver 10.9.9.9\nnameserver 10.9.9.10\nsearch corp.example\n"),
	}
}

const always = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

func TestContents(t *testing.T) {
	base := registration.Registration{Owner: owner, Source: registration.Generated, Addresses: addrs("172.17.0.2")}
	onHost := registration.Registration{Owner: owner, Source: registration.Host}
	with := func(r registration.Registration, change func(*registration.Registration)) registration.Registration {
		change(&r)
		return r
	}

	s7 := with(base, func(r *registration.Registration) {
		r.Hostname = "docker.test.com"
		r.Names = resolvconf.Conf{Servers: addrs("1.1.1.1"), Search: []string{"baidu.com"}}
	})

	const hostsDNS = "search corp.example\nnameserver 10.9.9.9\nnameserver 10.9.9.10\n"
	for _, c := range []struct {
		name                        string
		reg                         registration.Registration
		configured                  resolvconf.Conf
		hostname, hosts, resolvConf string
	}{
		{name: "no settings", reg: base,
			hostname: "605c598f642b\n", hosts: always + "172.17.0.2\t605c598f642b\n", resolvConf: hostsDNS},
		{name: "S7", reg: s7, hostname: "docker.test.com\n",
			hosts:      always + "172.17.0.2\tdocker.test.com docker\n",
			resolvConf: "search baidu.com\nnameserver 1.1.1.1\n"},
		{name: "S8", reg: with(s7, func(r *registration.Registration) {
			r.ExtraHosts = []registration.ExtraHost{{Name: "qq.com", Addr: netip.MustParseAddr("2.2.2.2")}}
		}), hostname: "docker.test.com\n",
			hosts:      always + "2.2.2.2\tqq.com\n172.17.0.2\tdocker.test.com docker\n",
			resolvConf: "search baidu.com\nnameserver 1.1.1.1\n"},
		{name: "S6", reg: onHost, hostname: "box # mine\n",
			hosts: string(ubuntu().Hosts), resolvConf: string(ubuntu().ResolvConf)},
		{name: "S6 with configured settings", reg: onHost,
			configured: resolvconf.Conf{Servers: addrs("9.9.9.9")}, hostname: "box # mine\n",
			hosts: string(ubuntu().Hosts), resolvConf: string(ubuntu().ResolvConf)},
		{name: "host with flags", reg: with(onHost, func(r *registration.Registration) {
			r.Hostname = "me"
			r.ExtraHosts = []registration.ExtraHost{{Name: "db", Addr: netip.MustParseAddr("10.0.0.9")}}
			r.Names.Options = []string{"ndots:2"}
		}), hostname: "me\n", hosts: always + "10.0.0.9\tdb\n",
			resolvConf: "search corp.example\nnameserver 127.0.0.53\noptions ndots:2\n"},
		{name: "a domain, two addresses", reg: with(base, func(r *registration.Registration) {
			r.Hostname, r.Domainname, r.Addresses = "web", "example.com", addrs("172.17.0.6", "10.5.0.2")
		}), hostname: "web\n", hosts: always +
			"172.17.0.6\tweb.example.com web\n10.5.0.2\tweb.example.com web\n", resolvConf: hostsDNS},
		{name: "host-gateway", reg: with(base, func(r *registration.Registration) {
			r.ExtraHosts = []registration.ExtraHost{{Name: "gw", Gateway: true}, {Name: "db",
				Addr: netip.MustParseAddr("10.0.0.9")}}
			r.HostGateways = addrs("172.17.0.1", "fd00::1")
		}), hostname: "605c598f642b\n",
			hosts:      always + "172.17.0.1\tgw\nfd00::1\tgw\n10.0.0.9\tdb\n172.17.0.2\t605c598f642b\n",
			resolvConf: hostsDNS},
		{name: "no IPv6", reg: with(base, func(r *registration.Registration) {
			r.IPv6Disabled = true
			r.ExtraHosts = []registration.ExtraHost{{Name: "gw", Gateway: true}}
			r.HostGateways, r.Addresses = addrs("172.17.0.1", "fd00::1"), addrs("172.17.0.2", "fd00::2")
		}), hostname: "605c598f642b\n",
			hosts: "127.0.0.1\tlocalhost\n172.17.0.1\tgw\n172.17.0.2\t605c598f642b\n", resolvConf: hostsDNS},
		{name: "configured", reg: base, configured: resolvconf.Conf{Servers: addrs("9.9.9.9"),
			Search: []string{"."}, Options: []string{"ndots:0"}},
			hostname: "605c598f642b\n", hosts: always + "172.17.0.2\t605c598f642b\n",
			resolvConf: "nameserver 9.9.9.9\noptions ndots:0\n"},
		{name: "no network", reg: registration.Registration{Owner: owner, Source: registration.Generated},
			hostname: "605c598f642b\n", hosts: always, resolvConf: hostsDNS},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.reg.Contents(ubuntu(), c.configured)
			for what, pair := range map[string][2]string{
				"hostname": {string(got.Hostname), c.hostname}, "hosts": {string(got.Hosts), c.hosts},
				"resolv.conf": {string(got.ResolvConf), c.resolvConf},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s:\n%s\nwant:\n%s", what, pair[0], pair[1])
				}
			}
			if err := c.reg.Validate(); err != nil {
				t.Errorf("rejected: %v", err)
			}
		})
	}
}

func TestContentsWithoutHostFiles(t *testing.T) {
	r := registration.Registration{Owner: owner, Source: registration.Generated, Addresses: addrs("172.17.0.2",
		"fd00::2")}
	got := r.Contents(registration.HostFiles{Name: "box", ResolvConf: []byte("nameserver 127.0.0.53\n")},
		resolvconf.Conf{})
	want := "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n"
	if string(got.ResolvConf) != want {
		t.Errorf("resolv.conf:\n%s\nwant:\n%s", got.ResolvConf, want)
	}

	r = registration.Registration{Owner: owner, Source: registration.Host}
	got = r.Contents(registration.HostFiles{Name: "box"}, resolvconf.Conf{})
	if string(got.Hostname) != "box\n" || string(got.Hosts) != always || len(got.ResolvConf) != 0 {
		t.Errorf("host without files: got %q, %q, %q", got.Hostname, got.Hosts, got.ResolvConf)
	}
}

func TestValidateRejectsUnsafeValues(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct {
		name   string
		change func(*registration.Registration)
		want   string
	}{
		{"owner", func(r *registration.Registration) { r.Owner = "../../etc" }, "is not a container ID"},
		{"source", func(r *registration.Registration) { r.Source = 0 }, "source 0 is not valid"},
		{"long hostname", func(r *registration.Registration) { r.Hostname = long }, `hostname "` + long + `" is too long (maximum 64 bytes)`},
		{"hostname with a line", func(r *registration.Registration) { r.Hostname = "a\n6.6.6.6 bank.com" }, `hostname "a\n6.6.6.6 bank.com" has white space`},
		{"domainname with a word", func(r *registration.Registration) { r.Domainname = "a bank.com" }, `domainname "a bank.com" has white space`},
		{"long domainname", func(r *registration.Registration) { r.Domainname = long }, "is too long"},
		{"address", func(r *registration.Registration) { r.Addresses = addrs("fe80::1%a") }, "is not an IP address"},
		{"extra host", func(r *registration.Registration) {
			r.ExtraHosts = []registration.ExtraHost{{Name: "a\tb", Addr: netip.MustParseAddr("10.0.0.1")}}
		}, "bad format for add-host"},
		{"extra address",
			func(r *registration.Registration) { r.ExtraHosts = []registration.ExtraHost{{Name: "a"}} },
			"invalid IP address in add-host"},
		{"host-gateway", func(r *registration.Registration) {
			r.ExtraHosts = []registration.ExtraHost{{Name: "a", Gateway: true}}
		}, "unable to derive the IP value for host-gateway"},
		{"host-gateway out of reach", func(r *registration.Registration) {
			r.ExtraHosts, r.HostGateways, r.IPv6Disabled = []registration.ExtraHost{{Name: "a",
				Gateway: true}}, addrs("fd00::1"), true
		}, "unable to derive the IP value for host-gateway"},
		{"gateway", func(r *registration.Registration) { r.HostGateways = []netip.Addr{{}} }, "is not an IP address"},
		{"server", func(r *registration.Registration) { r.Names.Servers = addrs("fe80::1%a\nb") }, `IP address is not correctly formatted: "fe80::1%a\nb"`},
		{"search", func(r *registration.Registration) { r.Names.Search = []string{"bad domain!"} },
			"bad domain! is not a valid domain"},
		{"option", func(r *registration.Registration) { r.Names.Options = []string{"a\nnameserver 6.6.6.6"} },
			"has white space"},
	} {
		r := registration.Registration{Owner: owner, Source: registration.Generated}
		c.change(&r)
		err := r.Validate()
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want an Invalid fault of one line with %q", c.name, err, c.want)
		}
	}
}
