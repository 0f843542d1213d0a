package config_test

import (
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/proto/fault"
)

// words makes a layer of "key=text" entries; keys that come again are lists.
func words(rank config.Rank, name string, entries ...string) config.Layer {
	layer := config.Layer{Rank: rank}
	for i, e := range entries {
		key, text, _ := strings.Cut(e, "=")
		origin := config.Origin{Rank: rank, Name: name, Line: i + 1}
		if rank == config.Flag {
			origin.Name = "--" + key
		}
		layer.Settings = append(layer.Settings, config.Setting{Key: key, Texts: []string{text}, Origin: origin})
	}
	return layer
}

func flags(entries ...string) config.Layer { return words(config.Flag, "", entries...) }

func file(entries ...string) config.Layer { return words(config.File, "/etc/d.json", entries...) }

func build(t *testing.T, layers ...config.Layer) *config.Config {
	t.Helper()
	c, err := config.Build(layers...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWithoutAnythingTheDefaultsCount(t *testing.T) {
	c := build(t)
	if c.DataRoot != "/var/lib/fairlead" || c.ExecRoot != "/run/fairlead" || c.Bridge != "docker0" || c.MTU != 1500 || c.LogLevel != slog.LevelInfo || c.LogFormat != "text" {
		t.Errorf("defaults are %+v", c)
	}
	if len(c.Hosts) != 1 || c.Hosts[0].String() != "unix:///run/fairlead/fairlead.sock" {
		t.Errorf("hosts are %v", c.Hosts)
	}
	if c.Service("nat").String() != "unix:///run/fairlead/nat.sock" || c.Service("cat") != (config.Host{}) {
		t.Errorf("services are %v", c.Services)
	}
}

func TestAnotherExecRootMovesTheSockets(t *testing.T) {
	c := build(t, flags("exec-root=/run/x/"), file("services.dns=unix:///run/d.sock"))
	if c.Hosts[0].String() != "unix:///run/x/fairlead.sock" || c.Service("net").String() != "unix:///run/x/net.sock" || c.Service("dns").String() != "unix:///run/d.sock" {
		t.Errorf("hosts %v, services %v", c.Hosts, c.Services)
	}
	c = build(t, flags("exec-root=/run/x", "hosts=unix:///run/api.sock"))
	if len(c.Hosts) != 1 || c.Hosts[0].Address != "/run/api.sock" {
		t.Errorf("hosts %v", c.Hosts)
	}
}

func TestTheHigherLayerWinsInWhateverOrderTheyCome(t *testing.T) {
	env, warnings := config.FromEnvironment([]string{"FAIRLEAD_MTU=1400", "FAIRLEAD_BRIDGE=br-env", "FAIRLEAD_BIP=", "FAIRLEAD_HOST=unix:///x", "HOME=/"})
	if warnings != nil {
		t.Errorf("warnings: %v", warnings)
	}
	c := build(t, flags("mtu=1300"), file("mtu=1500", "bridge=br-file", "debug=true", "bip=10.1.0.1/16"), env)
	if c.MTU != 1300 || c.Bridge != "br-env" || !c.Debug || c.LogLevel != slog.LevelDebug || c.BIP != netip.MustParsePrefix("10.1.0.1/16") {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]string{"mtu": "flag --mtu", "bridge": "environment FAIRLEAD_BRIDGE", "debug": "/etc/d.json:3", "data-root": "default", "dns": "default"} {
		if got := c.OriginOf(key).String(); got != want {
			t.Errorf("%s is from %s, want %s", key, got, want)
		}
	}
}

func TestListsAreUnitedWithoutDuplicates(t *testing.T) {
	env, _ := config.FromEnvironment([]string{"FAIRLEAD_HOSTS=tcp://127.0.0.1:1, unix:///a"})
	c := build(t, file("hosts=unix:///a", "hosts=unix:///b"), flags("hosts=unix:///c", "hosts=unix:///b"), env)
	v := c.Values()
	for _, value := range v {
		if value.Key != "hosts" {
			continue
		}
		var got []string
		for i, text := range value.Texts {
			got = append(got, text+" "+value.Origins[i].String())
		}
		want := []string{"unix:///c flag --hosts", "unix:///b flag --hosts", "tcp://127.0.0.1:1 environment FAIRLEAD_HOSTS", "unix:///a environment FAIRLEAD_HOSTS"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("hosts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return
	}
	t.Error("hosts are not among the values")
}

func TestAMisspeltVariableIsWarnedOf(t *testing.T) {
	_, warnings := config.FromEnvironment([]string{"FAIRLEAD_BPI=10.0.0.1/8", "FAIRLEAD_SOMETHING_ELSE=1"})
	if len(warnings) != 1 || !strings.Contains(warnings[0], "did you mean FAIRLEAD_BIP?") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestWhatIsWrongIsSaidWithKeyPlaceAndRemedy(t *testing.T) {
	long := "/" + strings.Repeat("x", 100)
	for _, c := range []struct {
		layer config.Layer
		want  string // the whole message, lines joined by " | "
	}{
		{file("bip=192.168.1.5/24", "fixed-cidr=10.20.0.0/16", "default-gateway=10.20.1.1"),
			"fixed-cidr (/etc/d.json:2), default-gateway (/etc/d.json:3): 10.20.0.0/16 and 10.20.1.1 are not parts of 192.168.1.0/24, the network of bip (/etc/d.json:1); move them into 192.168.1.0/24, or change bip"},
		{flags("bip=10.0.0.1"), `bip (flag --bip): "10.0.0.1" has no prefix length; write 10.0.0.1/24 or whichever length your network has`},
		{flags("bip=10.0.0.0/24"), "bip (flag --bip): 10.0.0.0/24 is the address of the network itself; the bridge needs a host's address in it, as in 10.0.0.1/24"},
		{flags("bip=10.0.0.255/24"), "bip (flag --bip): 10.0.0.255/24 is the network's broadcast address; write an address and its network's length, as in 192.168.10.1/24"},
		{flags("bip=10.0.0.1/31"), "bip (flag --bip): the network of 10.0.0.1/31 has no room for containers; write an address and its network's length, as in 192.168.10.1/24"},
		{flags("bip=fd00::1/64"), `bip (flag --bip): "fd00::1/64" is not an IPv4 address with a prefix length; write an address and its network's length, as in 192.168.10.1/24`},
		{flags("bip6=fd00::/64"), "bip6 (flag --bip6): fd00::/64 is the address of the network itself; the bridge needs a host's address in it, as in fd00::1/64"},
		{flags("bip6=fd00::1/64", "fixed-cidr-v6=fd01::/80"),
			"fixed-cidr-v6 (flag --fixed-cidr-v6): fd01::/80 is not a part of fd00::/64, the network of bip6 (flag --bip6); move it into fd00::/64, or change bip6"},
		{flags("bip=10.0.0.1/24", "fixed-cidr=10.0.0.0/16"),
			"fixed-cidr (flag --fixed-cidr): 10.0.0.0/16 is not a part of 10.0.0.0/24, the network of bip (flag --bip); move it into 10.0.0.0/24, or change bip"},
		{flags("fixed-cidr=10.9.0.0/16", "default-gateway=10.8.0.1"),
			"default-gateway (flag --default-gateway): 10.8.0.1 is not a part of 10.9.0.0/16, the network of fixed-cidr (flag --fixed-cidr); move it into 10.9.0.0/16, or change fixed-cidr"},
		{flags("bip=10.0.0.1/24", "default-gateway=10.0.0.255"),
			"default-gateway (flag --default-gateway): 10.0.0.255 is not a part of 10.0.0.0/24, the network of bip (flag --bip); move it into 10.0.0.0/24, or change bip"},
		{flags("default-gateway=10.8.0.1"),
			"default-gateway (flag --default-gateway): 10.8.0.1 is not a part of 172.17.0.0/16, the network of bip (default); move it into 172.17.0.0/16, or change bip"},
		{flags("fixed-cidr=10.0.0.0/31"), "fixed-cidr (flag --fixed-cidr): the network of 10.0.0.0/31 has no room for containers; give bip as well, or a larger range"},
		{flags("allow-direct-routing=some"), `allow-direct-routing (flag --allow-direct-routing): "some" is neither true nor false; write true or false`},
		{flags("publish-closed=no"), `publish-closed (flag --publish-closed): "no" is nothing to do; write warn, refuse or allow`},
		{flags("firewall-backend=pf"), `firewall-backend (flag --firewall-backend): "pf" is not a firewall backend; write auto, nftables or iptables`},
		{flags("mtu=1000", "ipv6=true"), "mtu (flag --mtu): 1000 is too small for IPv6; use 1280 or more, or leave ipv6, bip6 and fixed-cidr-v6 out"},
		{flags("bridge=none", "icc=false", "ip=10.0.0.1"),
			"icc (flag --icc), ip (flag --ip): nothing uses it without a default network, which bridge (flag --bridge) switches off; leave it out, or give the bridge a name"},
		{flags("ip=host"), `ip (flag --ip): "host" is not an address to publish on; write an address of the host, or 0.0.0.0 for all of them`},
		{flags("host-gateway-ips=10.0.0.1", "host-gateway-ips=10.0.0.2"),
			"host-gateway-ips (flag --host-gateway-ips): 10.0.0.2 is the second of its family after 10.0.0.1; give at most one IPv4 and one IPv6 address"},
		{file("default-address-pools=base=10.0.0.0/16,size=8", "default-address-pools=base=10.1.0.0/16,size=31"),
			"default-address-pools (/etc/d.json:1): subnets with a prefix of 8 bits do not fit into 10.0.0.0/16; make size 16 or more, or base larger" +
				" | default-address-pools (/etc/d.json:2): subnets with a prefix of 31 bits have no room for containers; make size 30 or less"},
		{file("default-address-pools=base=10.0.0.0/8,size=24", "default-address-pools=base=10.1.0.0/16,size=24"),
			"default-address-pools (/etc/d.json:2): 10.1.0.0/16 overlaps 10.0.0.0/8, which is a pool too; take one of them out, or make one smaller"},
		{flags("default-address-pools=10.0.0.0/8"), `default-address-pools (flag --default-address-pools): "10.0.0.0/8" has "10.0.0.0/8", which pools do not have; write base=10.0.0.0/8,size=24`},
		{flags("default-address-pools=base=10.0.0.0/8"), `default-address-pools (flag --default-address-pools): "base=10.0.0.0/8" is not a pool of addresses for networks; write base=10.0.0.0/8,size=24`},
		{flags("mtu=none", "bip=10.0.0.1/24", "fixed-cidr=10.0.0.0/16"), `mtu (flag --mtu): "none" is not a number from 68 to 65535; 1500 is Ethernet's | ` +
			"fixed-cidr (flag --fixed-cidr): 10.0.0.0/16 is not a part of 10.0.0.0/24, the network of bip (flag --bip); move it into 10.0.0.0/24, or change bip"},
		{flags("mtu=67", "dns=dns.example"), `mtu (flag --mtu): "67" is not a number from 68 to 65535; 1500 is Ethernet's | dns (flag --dns): "dns.example" is not a server's address; write an IPv4 or IPv6 address, without a port`},
		{flags("mtu=1000", "bip6=fd00::1/64"), "mtu (flag --mtu): 1000 is too small for IPv6; use 1280 or more, or leave ipv6, bip6 and fixed-cidr-v6 out"},
		{flags("log-level=loud", "log-format=xml"), `log-level (flag --log-level): "loud" is not a level; write debug, info, warn or error | log-format (flag --log-format): "xml" is not a format; write text or json`},
		{file("bpi=10.0.0.1/24"), "bpi (/etc/d.json:1): there is no such key; did you mean bip?"},
		{file("service=x"), "service (/etc/d.json:1): there is no such key; did you mean services?"},
		{file("services=x"), "services (/etc/d.json:1): it must be an object with the members net, nat, dns and supervisor"},
		{flags("exec-root=" + long), "exec-root (flag --exec-root): " + long + "/supervisor.sock has 117 bytes, a unix socket's path may have 107; use a shorter folder"},
		{flags("exec-root=/x", "data-root=/x"), "data-root (flag --data-root), exec-root (flag --exec-root): both are /x; give run-time files their own folder, best on a tmpfs"},
		{flags("data-root=here"), `data-root (flag --data-root): "here" is not an absolute path; write it from / on`},
		{flags("data-root="), "data-root (flag --data-root): it is empty; leave it out"},
		{flags("debug=maybe"), `debug (flag --debug): "maybe" is neither true nor false; write true or false`},
		{flags("services.net=tcp://127.0.0.1:1"), `services.net (flag --services.net): "tcp://127.0.0.1:1" is not a unix socket; services know each other by the user ids that unix sockets tell; write unix:///PATH`},
		{file("hosts=tcp://0.0.0.0:2375", "hosts=unix:///var/run/f.sock"), "hosts (/etc/d.json:1): tcp://0.0.0.0:2375 would give root on this machine to whoever reaches it; give --tlsverify with --tlscacert, --tlscert and --tlskey, or a loopback address, or accept the risk with --insecure-tcp"},
		{flags("tlsverify=true", "tlscert=/c"), "tlsverify (flag --tlsverify): it also needs tlscacert, tlskey; give the files of the CA's certificate, the agent's certificate and its key"},
		{flags("tlscert=/c"), "tlscert (flag --tlscert): nothing uses it without tlsverify; set tlsverify, or leave it out"},
		{flags("dns-search=a b", "dns-opts=a b"), `dns-search (flag --dns-search): "a b" is not a domain; write letters, digits, dashes and dots | dns-opts (flag --dns-opts): "a b" is not one option; write one option each, as in ndots:2`},
		{flags("registry-mirrors=mirror", "insecure-registries=http://r"), `registry-mirrors (flag --registry-mirrors): "mirror" is not a mirror's URL; write https://HOST[:PORT] | insecure-registries (flag --insecure-registries): "http://r" is not a registry; write HOST[:PORT] without http://, or a subnet`},
		{flags("default-runtime=bin/crun"), `default-runtime (flag --default-runtime): "bin/crun" is neither a name nor an absolute path; write a name such as crun, or a path from / on`},
		{flags("iptables=false", "live-restore=no"), `iptables (flag --iptables): "false" is not to be had; leave it out: published ports are rules of the firewall; firewall-backend says which kind` +
			` | live-restore (flag --live-restore): "no" is not to be had; leave it out: containers always outlive the agent`},
		{flags("bridge-accept-fwmark=0x10/0x0f"), `bridge-accept-fwmark (flag --bridge-accept-fwmark): "0x10/0x0f" is no mark of packets; write MARK or MARK/MASK, as in 0x10/0xf0`},
		{flags("bridge-accept-fwmark=ten"), `bridge-accept-fwmark (flag --bridge-accept-fwmark): "ten" is no mark of packets; write MARK or MARK/MASK, as in 0x10/0xf0`},
		{file("userland-proxy-path=/p"), "userland-proxy-path (/etc/d.json:1): it is Docker's, and not to be had; there is no proxy process here: the kernel does it"},
		{flags("default-network-opts=bridge", "default-network-opts=overlay=a=b"), `default-network-opts (flag --default-network-opts): "bridge" is no option of a network driver; write DRIVER=OPTION=VALUE, as in bridge=com.docker.network.driver.mtu=1400` +
			` | default-network-opts (flag --default-network-opts): networks of driver "overlay" have no options; the drivers are bridge, macvlan and ipvlan`},
		{flags("default-gateway-v6=fd00::1"), "default-gateway-v6 (flag --default-gateway-v6): no subnet is given that it could be in; give bip6 or fixed-cidr-v6 as well, or leave it out"},
		{flags("bridge=a-name-much-too-long"), `bridge (flag --bridge): "a-name-much-too-long" cannot be a device's name; use at most 15 letters, digits and dashes`},
	} {
		_, err := config.Build(c.layer)
		if err == nil {
			t.Errorf("no error; want %s", c.want)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), "\n", " | "); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%v is no Invalid fault", err)
		}
	}
}

func TestAFileMustUseTheKeysKind(t *testing.T) {
	for key, shape := range map[string]config.Shape{"mtu": config.Text, "debug": config.Text, "bip": config.Numeral, "hosts": config.Text, "data-root": config.Other, "dns": config.Other} {
		s := config.Setting{Key: key, Shape: shape, Texts: []string{"1"}, Origin: config.Origin{Rank: config.File, Name: "f", Line: 3}}
		_, err := config.Build(config.Layer{Rank: config.File, Settings: []config.Setting{s}})
		if err == nil || !strings.Contains(err.Error(), key+" (f:3): it must be ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestWhatOpensTCPIsAccepted(t *testing.T) {
	for _, l := range []config.Layer{
		flags("hosts=tcp://0.0.0.0:2375", "insecure-tcp=true"),
		flags("hosts=tcp://0.0.0.0:2376", "tlsverify=1", "tlscacert=/a", "tlscert=/b", "tlskey=/c"),
		flags("hosts=tcp://127.0.0.1:2375", "hosts=tcp://[::1]:2375", "hosts=tcp://localhost:2375", "hosts=fd://"),
	} {
		build(t, l)
	}
}

func TestKeysAreUniqueAndDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		for _, name := range []string{"key " + k.Name, "variable " + k.EnvName(), "flag " + k.Flag, "letter " + k.Short} {
			if seen[name] && !strings.HasSuffix(name, " ") {
				t.Errorf("%s stands for two keys", name)
			}
			seen[name] = true
		}
		if k.Usage == "" {
			t.Errorf("key %s says nothing of its use", k.Name)
		}
	}
}

func TestDirectRoutingIsDockersKey(t *testing.T) {
	if build(t).DirectRouting || !build(t, file("allow-direct-routing=true")).DirectRouting || build(t, file("allow-direct-routing=true"), flags("allow-direct-routing=false")).DirectRouting {
		t.Error("it is not as it was given last, and off where it was not")
	}
}

func TestOfOneNetworkOptionTheHigherLayerCounts(t *testing.T) {
	c := build(t, file("default-network-opts=bridge=mtu=1400", "default-network-opts=bridge=name=a=b"), flags("default-network-opts=bridge=mtu=1300", "default-network-opts=macvlan=parent=eth0"))
	want := map[string]map[string]string{"bridge": {"mtu": "1300", "name": "a=b"}, "macvlan": {"parent": "eth0"}}
	if !reflect.DeepEqual(c.NetworkOptions, want) {
		t.Errorf("%v, want %v", c.NetworkOptions, want)
	}
}

func TestWhatIsNotGivenIsComputed(t *testing.T) {
	for _, c := range []struct {
		layer     config.Layer
		bip, bip6 string
	}{
		{flags(), "172.17.0.1/16", "invalid Prefix"},
		{flags("fixed-cidr=172.17.128.0/17"), "172.17.0.1/16", "invalid Prefix"},
		{flags("fixed-cidr=10.9.0.0/16", "fixed-cidr-v6=fd00::/80"), "10.9.0.1/16", "fd00::1/80"},
		{flags("bip=10.8.0.9/16", "bip6=fd00::9/64"), "10.8.0.9/16", "fd00::9/64"},
		{flags("bridge=br0"), "invalid Prefix", "invalid Prefix"},
		{flags("bip6=fd00::9/64", "ipv6=false"), "172.17.0.1/16", "invalid Prefix"},
	} {
		got := build(t, c.layer)
		if got.BIP.String() != c.bip || got.BIP6.String() != c.bip6 {
			t.Errorf("%v: bip %s, bip6 %s", c.layer, got.BIP, got.BIP6)
		}
		if shown := got.OriginOf("bip").String(); got.BIP.IsValid() && strings.HasPrefix(c.bip, "10.8") == (shown == "default") {
			t.Errorf("%v: bip is from %s", c.layer, shown)
		}
	}
}

func TestNetworkKeysAreRead(t *testing.T) {
	c := build(t)
	if !c.ICC || !c.IPMasq || c.IPv6 || !c.IP.IsUnspecified() || c.Pools != nil || c.HostGateways != nil {
		t.Errorf("without them: %+v", c)
	}
	c = build(t, flags("icc=false", "ip-masq=0", "ipv6=true", "ip=192.0.2.1", "host-gateway-ips=192.0.2.1", "host-gateway-ips=fd00::1",
		"default-address-pools=base=10.1.2.3/16,size=24", "default-address-pools=size=64,base=fd00::/48"))
	if c.ICC || c.IPMasq || !c.IPv6 || c.IP.String() != "192.0.2.1" || len(c.HostGateways) != 2 {
		t.Errorf("with them: %+v", c)
	}
	want := []config.Pool{{Base: netip.MustParsePrefix("10.1.0.0/16"), Size: 24}, {Base: netip.MustParsePrefix("fd00::/48"), Size: 64}}
	if !reflect.DeepEqual(c.Pools, want) {
		t.Errorf("pools %v", c.Pools)
	}
}

func FuzzBuild(f *testing.F) {
	for _, k := range config.Keys() {
		f.Add(k.Name, "192.168.1.5/24", "10.0.0.0/8")
		f.Add(k.Name, "unix:///x", "::1")
	}
	f.Fuzz(func(t *testing.T, key, a, b string) {
		c, err := config.Build(flags(key+"="+a, "fixed-cidr="+b, "bip6="+b, "dns="+a))
		if err == nil && (len(c.Hosts) == 0 || c.MTU == 0 || c.DataRoot == c.ExecRoot) {
			t.Errorf("an accepted configuration lacks what every agent needs: %+v", c)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v is no Invalid fault", err)
		}
	})
}

func FuzzFromEnvironment(f *testing.F) {
	for _, k := range config.Keys() {
		f.Add(k.EnvName(), "a,b c=d")
	}
	f.Add("FAIRLEAD_HSOTS", "x")
	f.Fuzz(func(t *testing.T, name, text string) {
		layer, warnings := config.FromEnvironment([]string{name + "=" + text})
		if len(layer.Settings) > 0 && len(warnings) > 0 {
			t.Errorf("%s=%q is taken, and warned of: %q", name, text, warnings)
		}
		if _, err := config.Build(layer); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v is no Invalid fault", err)
		}
	})
}
