package config_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/agent/config"
)

// samples returns valid texts of keys, two for each. Lists have one element in each text.
func samples() map[string][2]string {
	return map[string][2]string{
		"data-root": {"/a", "/b"}, "pidfile": {"/run/a.pid", "/run/b.pid"}, "bridge": {"br1", "br2"},
		"mtu": {"1400", "9000"}, "ipv6": {"true", "false"}, "icc": {"false", "true"}, "ip": {"127.0.0.1", "10.0.0.1"},
		"bip": {"10.1.0.1/24", "10.2.0.1/16"}, "renumber": {"true", "false"}, "log-level": {"debug", "error"},
		"log-format": {"json", "text"}, "log-driver": {"local", "none"}, "log-opts.max-size": {"64k", "-1"},
		"log-opts.max-file": {"1", "100"}, "default-pids-limit": {"0", "100"},
		"default-runtime":  {"crun", "/usr/bin/x"},
		"firewall-backend": {"iptables", "nftables"}, "publish-blocked": {"refuse", "allow"},
		"dns": {"1.1.1.1", "fd00::53"}, "dns-search": {"a.example", "."}, "dns-opts": {"ndots:2", "rotate"},
		"hosts": {"unix:///run/a.sock", "fd://"}, "insecure-registries": {"a:5000", "10.0.0.0/8"},
		"default-address-pools": {"base=10.10.0.0/16,size=24", "base=fd00::/48,size=64"},
		"default-network-opts": {"bridge=com.docker.network.driver.mtu=1400",
			"macvlan=com.docker.network.driver.mtu=9000"},
		"services.net": {"unix:///run/n1.sock", "unix:///run/n2.sock"},
	}
}

// layers returns a generator of one layer of each rank with random keys.
func layers() *rapid.Generator[[]config.Layer] {
	return rapid.Custom(func(t *rapid.T) []config.Layer {
		var out []config.Layer
		keys := slices.Sorted(maps.Keys(samples()))
		for rank := config.File; rank <= config.Flag; rank++ {
			var entries []string
			for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, 8, rapid.ID).Draw(t, "keys") {
				entries = append(entries, key+"="+samples()[key][rapid.IntRange(0, 1).Draw(t, "text")])
			}
			out = append(out, words(rank, "/etc/d.json", entries...))
		}
		return out
	})
}

// given returns the values of a configuration by key, without those derived from other keys.
func given(c *config.Config) map[string]string {
	out := map[string]string{}
	for _, v := range c.Values() {
		if v.Origins[0].Rank != config.Default {
			out[v.Key] = strings.Join(v.Texts, " ")
		}
	}
	return out
}

// TestMergeProperty merges random layers in random order and compares the result with a model.
func TestMergeProperty(t *testing.T) {
	multi := map[string]bool{}
	for _, k := range config.Keys() {
		multi[k.Name] = k.Kind.MultiValued()
	}
	rapid.Check(t, func(t *rapid.T) {
		all := layers().Draw(t, "layers")
		want := map[string]string{}
		for _, layer := range all { // lowest first
			for _, s := range layer.Settings {
				switch {
				case multi[s.Key] && want[s.Key] != "" && want[s.Key] != s.Texts[0]:
					rest := strings.Fields(want[s.Key])
					rest = slices.DeleteFunc(rest, func(text string) bool { return text == s.Texts[0] })
					want[s.Key] = strings.Join(append([]string{s.Texts[0]}, rest...), " ")
				default:
					want[s.Key] = s.Texts[0]
				}
			}
		}

		c, err := config.Build(rapid.Permutation(all).Draw(t, "order")...)
		if err != nil {
			t.Fatal(err)
		}
		if got := given(c); !maps.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}

// TestValuesRoundTrip builds a configuration from the values of another one. Nothing changes.
func TestValuesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, err := config.Build(layers().Draw(t, "layers")...)
		if err != nil {
			t.Fatal(err)
		}
		layer := config.Layer{Rank: config.File}
		for _, v := range first.Values() {
			if v.Origins[0].Rank != config.Default {
				layer.Settings = append(layer.Settings, config.Setting{Key: v.Key, Texts: v.Texts,
					Origin: config.Origin{Rank: config.File, Name: "/etc/d.json"}})
			}
		}
		again, err := config.Build(layer)
		if err != nil {
			t.Fatal(err)
		}
		if _, changes, err := first.Reload(again); err != nil || len(changes) > 0 {
			t.Fatalf("got changes %+v, %v", changes, err)
		}
	})
}

// TestReloadProperty reloads a random configuration: reloadable keys follow, the others stay.
func TestReloadProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		running, err := config.Build(layers().Draw(t, "running")...)
		if err != nil {
			t.Fatal(err)
		}
		next, err := config.Build(layers().Draw(t, "next")...)
		if err != nil {
			t.Fatal(err)
		}
		merged, changes, err := running.Reload(next)
		if err != nil {
			t.Fatal(err)
		}

		changed := map[string]bool{}
		for _, c := range changes {
			if slices.Equal(c.Before, c.After) {
				t.Fatalf("got change %+v without a difference", c)
			}
			changed[c.Key] = true
		}
		before, want := given(running), given(next)
		for _, k := range config.Keys() {
			expect := before[k.Name]
			if k.Reloadable {
				expect = want[k.Name]
			}
			differs := textOf(running, k.Name) != textOf(next, k.Name)
			isGiven := before[k.Name] != "" || want[k.Name] != ""
			if expect != "" && textOf(merged, k.Name) != expect || isGiven && changed[k.Name] != differs {
				t.Fatalf("%s: got %q, want %q; change %v, want %v", k.Name, textOf(merged, k.Name), expect,
					changed[k.Name], differs)
			}
		}
		_, rest, err := merged.Reload(next)
		if err != nil || slices.ContainsFunc(rest, func(c config.Change) bool { return c.Reloadable }) {
			t.Fatalf("got changes %+v again, %v", rest, err)
		}
	})
}

// textOf returns the texts of a key, with those of defaults.
func textOf(c *config.Config, key string) string {
	for _, v := range c.Values() {
		if v.Key == key {
			return strings.Join(v.Texts, " ")
		}
	}
	return ""
}

// TestEnvironmentMatchesFlags sets each key by its variable and as a flag.
func TestEnvironmentMatchesFlags(t *testing.T) {
	for _, k := range config.Keys() {
		texts, ok := samples()[k.Name]
		if !ok {
			continue
		}
		env, warnings := config.FromEnvironment([]string{k.EnvName() + "=" + texts[0]})
		if len(warnings) > 0 || len(env.Settings) != 1 ||
			env.Settings[0].Origin.String() != "environment "+k.EnvName() {
			t.Errorf("%s: got %+v, warnings %q", k.EnvName(), env, warnings)
			continue
		}
		byVariable, byFlag := build(t, env), build(t, flags(k.Name+"="+texts[0]))
		if got, want := given(byVariable)[k.Name], given(byFlag)[k.Name]; got != want || got != texts[0] {
			t.Errorf("%s: got %q, want %q", k.EnvName(), got, want)
		}
		if empty, _ := config.FromEnvironment([]string{k.EnvName() + "="}); len(empty.Settings) != 0 {
			t.Errorf("%s: got %+v for an empty variable", k.EnvName(), empty.Settings)
		}
	}
}

func TestListsInEnvironment(t *testing.T) {
	for variable, want := range map[string][]string{
		"FAIRLEAD_DNS= 1.1.1.1 ,, 9.9.9.9,": {"1.1.1.1", "9.9.9.9"},
		"FAIRLEAD_DEFAULT_ADDRESS_POOLS=base=10.0.0.0/16,size=24  base=fd00::/48,size=64": {
			"base=10.0.0.0/16,size=24", "base=fd00::/48,size=64"},
		"FAIRLEAD_DNS_OPTS=ndots:2": {"ndots:2"},
		"FAIRLEAD_GROUP=a, b":       {"a, b"},
		"FAIRLEAD_DNS=,":            nil,
	} {
		layer, _ := config.FromEnvironment([]string{variable})
		if len(layer.Settings) != 1 || !slices.Equal(layer.Settings[0].Texts, want) {
			t.Errorf("%s: got %+v, want %q", variable, layer.Settings, want)
		}
	}
}

func TestMappedHostAddressIsIPv4(t *testing.T) {
	if c := build(t, flags("ip=::ffff:127.0.0.1")); !c.IP.Is4() || c.IP.String() != "127.0.0.1" {
		t.Errorf("got %s, want 127.0.0.1", c.IP)
	}
}

func TestOriginsAreReadable(t *testing.T) {
	for want, o := range map[string]config.Origin{
		"default": {}, "/etc/d.json:4": {Rank: config.File, Name: "/etc/d.json", Line: 4},
		"environment FAIRLEAD_BIP": {Rank: config.Environment, Name: "FAIRLEAD_BIP"},
		"flag --bip":               {Rank: config.Flag, Name: "--bip"},
	} {
		if got := fmt.Sprint(o); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
