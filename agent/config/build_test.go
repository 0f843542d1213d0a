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

// words returns a layer of "key=text" entries. Repeated keys are lists.
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

func TestBuildWithoutLayersUsesDefaults(t *testing.T) {
	c := build(t)
	if c.DataRoot != "/var/lib/fairlead" || c.ExecRoot != "/run/fairlead" || c.Bridge != "docker0" || c.MTU != 1500 ||
		c.LogLevel != slog.LevelInfo || c.LogFormat != "text" {
		t.Errorf("defaults are %+v", c)
	}
	if len(c.Hosts) != 1 || c.Hosts[0].String() != "unix:///run/fairlead/fairlead.sock" {
		t.Errorf("hosts are %v", c.Hosts)
	}
	if c.Service("nat").String() != "unix:///run/fairlead/nat.sock" || c.Service("cat") != (config.Host{}) {
		t.Errorf("services are %v", c.Services)
	}
}

func TestExecRootDeterminesSocketPaths(t *testing.T) {
	c := build(t, flags("exec-root=/run/x/"), file("services.dns=unix:///run/d.sock"))
	if c.Hosts[0].String() != "unix:///run/x/fairlead.sock" || c.Service("net").String() != "unix:///run/x/net.sock" ||
		c.Service("dns").String() != "unix:///run/d.sock" {
		t.Errorf("hosts %v, services %v", c.Hosts, c.Services)
	}
	c = build(t, flags("exec-root=/run/x", "hosts=unix:///run/api.sock"))
	if len(c.Hosts) != 1 || c.Hosts[0].Address != "/run/api.sock" {
		t.Errorf("hosts %v", c.Hosts)
	}
}

func TestHigherLayerOverridesLower(t *testing.T) {
	env, warnings := config.FromEnvironment([]string{"FAIRLEAD_MTU=1400", "FAIRLEAD_BRIDGE=br-env", "FAIRLEAD_BIP=",
		"FAIRLEAD_HOST=unix:///x", "HOME=/"})
	if warnings != nil {
		t.Errorf("warnings: %v", warnings)
	}
	c := build(t, flags("mtu=1300"), file("mtu=1500", "bridge=br-file", "debug=true", "bip=10.1.0.1/16"), env)
	if c.MTU != 1300 || c.Bridge != "br-env" || !c.Debug || c.LogLevel != slog.LevelDebug ||
		c.BIP != netip.MustParsePrefix("10.1.0.1/16") {
		t.Errorf("got %+v", c)
	}
	for key, want := range map[string]string{"mtu": "flag --mtu", "bridge": "environment FAIRLEAD_BRIDGE",
		"debug": "/etc/d.json:3", "data-root": "default", "dns": "default"} {
		if got := c.OriginOf(key).String(); got != want {
			t.Errorf("%s is from %s, want %s", key, got, want)
		}
	}
}

func TestListsAreMergedWithoutDuplicates(t *testing.T) {
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
		want := []string{"unix:///c flag --hosts", "unix:///b flag --hosts",
			"tcp://127.0.0.1:1 environment FAIRLEAD_HOSTS", "unix:///a environment FAIRLEAD_HOSTS"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("hosts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return
	}
	t.Error("hosts are not among the values")
}

func TestMisspelledVariableIsReported(t *testing.T) {
	_, warnings := config.FromEnvironment([]string{"FAIRLEAD_BPI=10.0.0.1/8", "FAIRLEAD_SOMETHING_ELSE=1"})
	if len(warnings) != 1 || !strings.Contains(warnings[0], "did you mean FAIRLEAD_BIP?") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestErrorsNameKeyOriginAndHint(t *testing.T) {
	long := "/" + strings.Repeat("x", 100)
	for _, c := range []struct {
		layer config.Layer
		want  string // the whole message, lines joined by " | "
	}{
		{file("bip=192.168.1.5/24", "fixed-cidr=10.20.0.0/16", "default-gateway=10.20.1.1"),
			"fixed-cidr (/etc/d.json:2), default-gateway (/etc/d.json:3): 10.20.0.0/16 and 10.20.1.1 are outside of " +
				"192.168.1.0/24, the subnet of bip (/etc/d.json:1); move them into 192.168.1.0/24, or change bip"},
		{flags("bip=10.0.0.1"),
			`bip (flag --bip): "10.0.0.1" has no prefix length; write 10.0.0.1/24, or the prefix length of your network`},
		{flags("bip=10.0.0.0/24"), "bip (flag --bip): 10.0.0.0/24 is a network address; write a host address, as in " +
			"10.0.0.1/24"},
		{flags("bip=10.0.0.255/24"), "bip (flag --bip): 10.0.0.255/24 is a broadcast address; write an address with " +
			"a prefix length, as in 192.168.10.1/24"},
		{flags("bip=10.0.0.1/31"), "bip (flag --bip): the subnet of 10.0.0.1/31 is too small for containers; write " +
			"an address with a prefix length, as in 192.168.10.1/24"},
		{flags("bip=fd00::1/64"),
			`bip (flag --bip): "fd00::1/64" is not an IPv4 address with a prefix length; write an address with a prefix length, as in 192.168.10.1/24`},
		{flags("bip6=fd00::/64"), "bip6 (flag --bip6): fd00::/64 is a network address; write a host address, as in " +
			"fd00::1/64"},
		{flags("bip6=fd00::1/64", "fixed-cidr-v6=fd01::/80"),
			"fixed-cidr-v6 (flag --fixed-cidr-v6): fd01::/80 is outside of fd00::/64, the subnet of bip6 (flag " +
				"--bip6); move it into fd00::/64, or change bip6"},
		{flags("bip=10.0.0.1/24", "fixed-cidr=10.0.0.0/16"),
			"fixed-cidr (flag --fixed-cidr): 10.0.0.0/16 is outside of 10.0.0.0/24, the subnet of bip (flag --bip); " +
				"move it into 10.0.0.0/24, or change bip"},
		{flags("fixed-cidr=10.9.0.0/16", "default-gateway=10.8.0.1"),
			"default-gateway (flag --default-gateway): 10.8.0.1 is outside of 10.9.0.0/16, the subnet of fixed-cidr " +
				"(flag --fixed-cidr); move it into 10.9.0.0/16, or change fixed-cidr"},
		{flags("bip=10.0.0.1/24", "default-gateway=10.0.0.255"),
			"default-gateway (flag --default-gateway): 10.0.0.255 is outside of 10.0.0.0/24, the subnet of bip " +
				"(flag --bip); move it into 10.0.0.0/24, or change bip"},
		{flags("default-gateway=10.8.0.1"),
			"default-gateway (flag --default-gateway): 10.8.0.1 is outside of 172.17.0.0/16, the subnet of bip " +
				"(default); move it into 172.17.0.0/16, or change bip"},
		{flags("fixed-cidr=10.0.0.0/31"), "fixed-cidr (flag --fixed-cidr): subnet 10.0.0.0/31 is too small for " +
			"containers; set bip too, or use a larger range"},
		{flags("allow-direct-routing=some"),
			`allow-direct-routing (flag --allow-direct-routing): "some" is neither true nor false; write true or false`},
		{flags("publish-blocked=no"),
			`publish-blocked (flag --publish-blocked): invalid value "no"; write warn, refuse or allow`},
		{flags("firewall-backend=pf"),
			`firewall-backend (flag --firewall-backend): "pf" is not a valid firewall backend; write auto, nftables or iptables`},
		{flags("mtu=1000", "ipv6=true"), "mtu (flag --mtu): 1000 is too small for IPv6; use 1280 or more, or remove " +
			"ipv6, bip6 and fixed-cidr-v6"},
		{flags("bridge=none", "icc=false", "ip=10.0.0.1"),
			"icc (flag --icc), ip (flag --ip): has no effect: bridge (flag --bridge) disables the default network; " +
				"remove it, or give the bridge a name"},
		{flags("ip=host"),
			`ip (flag --ip): "host" is not a valid address for published ports; write a host address, or 0.0.0.0 for all`},
		{flags("host-gateway-ips=10.0.0.1", "host-gateway-ips=10.0.0.2"),
			"host-gateway-ips (flag --host-gateway-ips): 10.0.0.2 is the second address of its family, after " +
				"10.0.0.1; use at most one IPv4 and one IPv6 address"},
		{file("default-address-pools=base=10.0.0.0/16,size=8", "default-address-pools=base=10.1.0.0/16,size=31"),
			"default-address-pools (/etc/d.json:1): subnets of size 8 do not fit into 10.0.0.0/16; use size 16 or " +
				"more, or a larger base" +
				" | default-address-pools (/etc/d.json:2): subnets of size 31 are too small for containers; use " +
				"size 30 or less"},
		{file("default-address-pools=base=10.0.0.0/8,size=24", "default-address-pools=base=10.1.0.0/16,size=24"),
			"default-address-pools (/etc/d.json:2): 10.1.0.0/16 overlaps the pool 10.0.0.0/8; remove one of them, " +
				"or use a smaller one"},
		{flags("default-address-pools=10.0.0.0/8"),
			`default-address-pools (flag --default-address-pools): "10.0.0.0/8" has the unknown member "10.0.0.0/8"; write base=10.0.0.0/8,size=24`},
		{flags("default-address-pools=base=10.0.0.0/8"),
			`default-address-pools (flag --default-address-pools): "base=10.0.0.0/8" is not a valid address pool; write base=10.0.0.0/8,size=24`},
		{flags("mtu=none", "bip=10.0.0.1/24", "fixed-cidr=10.0.0.0/16"),
			`mtu (flag --mtu): "none" is not a number from 68 to 65535; the MTU of Ethernet is 1500 | ` +
				"fixed-cidr (flag --fixed-cidr): 10.0.0.0/16 is outside of 10.0.0.0/24, the subnet of bip (flag " +
				"--bip); move it into 10.0.0.0/24, or change bip"},
		{flags("mtu=67", "dns=dns.example"),
			`mtu (flag --mtu): "67" is not a number from 68 to 65535; the MTU of Ethernet is 1500 | dns (flag --dns): "dns.example" is not a valid server address; write an IPv4 or IPv6 address, without a port`},
		{flags("mtu=1000", "bip6=fd00::1/64"), "mtu (flag --mtu): 1000 is too small for IPv6; use 1280 or more, or " +
			"remove ipv6, bip6 and fixed-cidr-v6"},
		{flags("log-level=loud", "log-format=xml"),
			`log-level (flag --log-level): "loud" is not a valid log level; write debug, info, warn or error | log-format (flag --log-format): "xml" is not a valid log format; write text or json`},
		{file("bpi=10.0.0.1/24"), "bpi (/etc/d.json:1): unknown key; did you mean bip?"},
		{file("publish-closed=warn"), "publish-closed (/etc/d.json:1): unknown key; did you mean publish-blocked?"},
		{file("service=x"), "service (/etc/d.json:1): unknown key; did you mean services?"},
		{file("services=x"), "services (/etc/d.json:1): must be an object with the members net, nat, dns, " +
			"supervisor, fleet and engine"},
		{flags("exec-root=" + long), "exec-root (flag --exec-root): socket path " + long +
			"/supervisor.sock has 117 bytes, more than 107; use a shorter path"},
		{flags("exec-root=/x", "data-root=/x"), "data-root (flag --data-root), exec-root (flag --exec-root): both " +
			"are /x; use another directory for runtime files, preferably on a tmpfs"},
		{flags("data-root=here"),
			`data-root (flag --data-root): "here" is not an absolute path; write a path that starts with /`},
		{flags("data-root="), "data-root (flag --data-root): is empty; remove it"},
		{flags("debug=maybe"), `debug (flag --debug): "maybe" is neither true nor false; write true or false`},
		{flags("services.net=tcp://127.0.0.1:1"),
			`services.net (flag --services.net): "tcp://127.0.0.1:1" is not a Unix socket; services authenticate by peer UID; write unix:///PATH`},
		{file("hosts=tcp://0.0.0.0:2375", "hosts=unix:///var/run/f.sock"),
			"hosts (/etc/d.json:1): tcp://0.0.0.0:2375 would allow unauthenticated root access; use --tlsverify " +
				"with --tlscacert, --tlscert and --tlskey, or a loopback address, or accept the risk with " +
				"--insecure-tcp"},
		{flags("tlsverify=true", "tlscert=/c"), "tlsverify (flag --tlsverify): requires tlscacert, tlskey; set the " +
			"files of the CA certificate, the agent's certificate and its key"},
		{flags("tlscert=/c"), "tlscert (flag --tlscert): has no effect without tlsverify; set tlsverify, or remove it"},
		{flags("dns-search=a b", "dns-opts=a "+
			"b"),
			`dns-search (flag --dns-search): "a b" is not a valid domain; write letters, digits, dashes and dots | dns-opts (flag --dns-opts): "a b" is not a valid option; write one option for each element, as in ndots:2`},
		{flags("registry-mirrors=mirror", "insecure-registries=http://r"),
			`registry-mirrors (flag --registry-mirrors): "mirror" is not a valid mirror URL; write https://HOST[:PORT] | insecure-registries (flag --insecure-registries): "http://r" is not a valid registry; write HOST[:PORT] without http://, or a subnet`},
		{flags("default-runtime=bin/crun"),
			`default-runtime (flag --default-runtime): "bin/crun" is neither a name nor an absolute path; write a name such as crun, or an absolute path`},
		{flags("iptables=false", "live-restore=no"),
			`iptables (flag --iptables): "false" is not supported; remove it: published ports are firewall rules; firewall-backend selects the firewall` +
				` | live-restore (flag --live-restore): "no" is not supported; remove it: containers always outlive the agent`},
		{flags("bridge-accept-fwmark=0x10/0x0f"),
			`bridge-accept-fwmark (flag --bridge-accept-fwmark): "0x10/0x0f" is not a valid fwmark; write MARK or MARK/MASK, as in 0x10/0xf0`},
		{flags("bridge-accept-fwmark=ten"),
			`bridge-accept-fwmark (flag --bridge-accept-fwmark): "ten" is not a valid fwmark; write MARK or MARK/MASK, as in 0x10/0xf0`},
		{file("userland-proxy-path=/p"), "userland-proxy-path (/etc/d.json:1): Docker key is not supported; the " +
			"kernel forwards ports without a proxy process"},
		{flags("default-network-opts=bridge", "default-network-opts=overlay=a=b"),
			`default-network-opts (flag --default-network-opts): "bridge" is not a valid driver option; write DRIVER=OPTION=VALUE, as in bridge=com.docker.network.driver.mtu=1400` +
				` | default-network-opts (flag --default-network-opts): networks of driver "overlay" have no options; the drivers are bridge, macvlan and ipvlan`},
		{flags("default-gateway-v6=fd00::1"), "default-gateway-v6 (flag --default-gateway-v6): has no subnet; set " +
			"bip6 or fixed-cidr-v6 too, or remove it"},
		{flags("bridge=a-name-much-too-long"),
			`bridge (flag --bridge): "a-name-much-too-long" is not a valid device name; use at most 15 letters, digits and dashes`},
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
			t.Errorf("%v is not an Invalid fault", err)
		}
	}
}

func TestFileValuesMustMatchKeyKind(t *testing.T) {
	for key, shape := range map[string]config.Shape{"mtu": config.Text, "debug": config.Text, "bip": config.Numeral,
		"hosts": config.Text, "data-root": config.Other, "dns": config.Other} {
		s := config.Setting{Key: key, Shape: shape, Texts: []string{"1"},
			Origin: config.Origin{Rank: config.File, Name: "f", Line: 3}}
		_, err := config.Build(config.Layer{Rank: config.File, Settings: []config.Setting{s}})
		if err == nil || !strings.Contains(err.Error(), key+" (f:3): must be ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestSecuredTCPHostsAreAccepted(t *testing.T) {
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
		for _, name := range []string{"key " + k.Name, "variable " + k.EnvName(), "flag " + k.Flag,
			"letter " + k.Short} {
			if seen[name] && !strings.HasSuffix(name, " ") {
				t.Errorf("%s denotes two keys", name)
			}
			seen[name] = true
		}
		if k.Usage == "" {
			t.Errorf("key %s has no usage text", k.Name)
		}
	}
}

func TestAllowDirectRoutingIsRead(t *testing.T) {
	if build(t).DirectRouting || !build(t, file("allow-direct-routing=true")).DirectRouting ||
		build(t, file("allow-direct-routing=true"), flags("allow-direct-routing=false")).DirectRouting {
		t.Error("got another value than the last one given, or true by default")
	}
}

func TestNetworkOptionOfHigherLayerIsUsed(t *testing.T) {
	c := build(t, file("default-network-opts=bridge=mtu=1400", "default-network-opts=bridge=name=a=b"),
		flags("default-network-opts=bridge=mtu=1300", "default-network-opts=macvlan=parent=eth0"))
	want := map[string]map[string]string{"bridge": {"mtu": "1300", "name": "a=b"}, "macvlan": {"parent": "eth0"}}
	if !reflect.DeepEqual(c.NetworkOptions, want) {
		t.Errorf("%v, want %v", c.NetworkOptions, want)
	}
}

func TestBridgeAddressesAreDerived(t *testing.T) {
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
		if shown := got.OriginOf("bip").String(); got.BIP.IsValid() &&
			strings.HasPrefix(c.bip, "10.8") == (shown == "default") {
			t.Errorf("%v: bip is from %s", c.layer, shown)
		}
	}
}

func TestNetworkKeysAreRead(t *testing.T) {
	c := build(t)
	if !c.ICC || !c.IPMasq || c.IPv6 || !c.IP.IsUnspecified() || c.Pools != nil || c.HostGateways != nil {
		t.Errorf("without them: %+v", c)
	}
	c = build(t, flags("icc=false", "ip-masq=0", "ipv6=true", "ip=192.0.2.1", "host-gateway-ips=192.0.2.1",
		"host-gateway-ips=fd00::1",
		"default-address-pools=base=10.1.2.3/16,size=24", "default-address-pools=size=64,base=fd00::/48"))
	if c.ICC || c.IPMasq || !c.IPv6 || c.IP.String() != "192.0.2.1" || len(c.HostGateways) != 2 {
		t.Errorf("with them: %+v", c)
	}
	want := []config.Pool{{Base: netip.MustParsePrefix("10.1.0.0/16"), Size: 24},
		{Base: netip.MustParsePrefix("fd00::/48"), Size: 64}}
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
			t.Errorf("an accepted configuration lacks required values: %+v", c)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v is not an Invalid fault", err)
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
			t.Errorf("%s=%q is accepted, but also reported: %q", name, text, warnings)
		}
		if _, err := config.Build(layer); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%v is not an Invalid fault", err)
		}
	})
}
