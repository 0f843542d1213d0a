package iptables_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func at(n *testns.NS) hostns.NS { return hostns.At(n.Fd()) }

func opened(t testing.TB, n *testns.NS, flavour string) *iptables.Backend {
	t.Helper()
	b := open(t, at(n), flavour)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func mustSync(t testing.TB, b *iptables.Backend, want firewall.State) firewall.Change {
	t.Helper()
	c, err := b.Sync(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func network(id string, subnets ...string) firewall.Network {
	n := firewall.Network{ID: id, Bridge: "br" + id, Masquerade: true, ICC: true}
	for _, s := range subnets {
		n.Subnets = append(n.Subnets, netip.MustParsePrefix(s))
	}
	return n
}

func binding(name string, proto port.Protocol, host string, target string) port.Binding {
	from, to := netip.MustParseAddrPort(host), netip.MustParseAddrPort(target)
	return port.Binding{Protocol: proto, HostIP: from.Addr(), Host: port.Single(from.Port()),
		ContainerIP: to.Addr(), Container: port.Single(to.Port()), OwnerName: name}
}

func state(ports int) firewall.State {
	s := firewall.State{Networks: []firewall.Network{network("A", "10.10.1.0/24", "fd10:1::/64")}}
	for i := range ports {
		s.Bindings = append(s.Bindings, binding("web", "tcp", fmt.Sprintf("0.0.0.0:%d", 10000+i), "10.10.1.2:80"))
	}
	return s
}

var noise = regexp.MustCompile(`(?m)^#.*\n?|\[\d+:\d+\]`)

// saved returns the output of iptables-save and ip6tables-save, without counters.
func saved(n *testns.NS, flavour string) string {
	return noise.ReplaceAllString(n.Run("iptables-"+flavour+"-save"), "") +
		noise.ReplaceAllString(n.Run("ip6tables-"+flavour+"-save"), "")
}

func TestExternalChangesAreReverted(t *testing.T) {
	for name, change := range map[string]string{
		"flush filter":              "-F",
		"flush nat":                 "-t nat -F",
		"flush raw":                 "-t raw -F",
		"delete a jump":             "-D FORWARD -j FAIRLEAD-FORWARD",
		"rule before the jumps":     "-I FORWARD 1 -j ACCEPT",
		"rule in our chain":         "-I FAIRLEAD-TO 1 -j ACCEPT",
		"foreign port in our chain": "-t nat -A FAIRLEAD-DNAT -p tcp --dport 9 -j DNAT --to-destination 10.10.1.2:9",
		"missing port":              `-t nat -D FAIRLEAD-DNAT 2`,
		"flush and delete nat":      "-t nat -F; CMD -t nat -X",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachFlavour(t, func(t *testing.T, flavour string) {
				n := testns.New(t)
				b := opened(t, n, flavour)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				mustSync(t, b, state(3))
				changed, err := b.Watch(ctx)
				if err != nil {
					t.Fatal(err)
				}
				before := ownLines(saved(n, flavour))
				n.Run("sh", "-ec", strings.ReplaceAll("CMD "+change, "CMD", "iptables-"+flavour))
				select {
				case <-changed:
				case <-time.After(60 * time.Second):
					t.Fatal("the change was not noticed")
				}
				if c := mustSync(t, b, state(3)); !c.Rebuilt && c.Added == 0 && len(c.Removed) == 0 {
					t.Error("Sync found no difference")
				}
				if after := ownLines(saved(n, flavour)); after != before {
					t.Errorf("not restored\nbefore:\n%s\nafter:\n%s", before, after)
				}
				if c := mustSync(t, b, state(3)); c.Rebuilt || c.Added != 0 || len(c.Removed) != 0 {
					t.Errorf("a second Sync still changes %+v", c)
				}
			})
		})
	}
}

// ownLines returns the lines that name our chains.
func ownLines(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"),
		func(l string) bool { return !strings.Contains(l, "FAIRLEAD") })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestOwnChangesAreNotSignalled(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		b := opened(t, n, flavour)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		mustSync(t, b, state(0))
		changed, err := b.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := b.AddBindings(ctx, eachForm()[:3]); err != nil {
				t.Fatal(err)
			}
			if err := b.RemoveBindings(ctx, eachForm()[:3]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(300 * time.Millisecond) // several poll intervals
		select {
		case <-changed:
			t.Error("own changes were signalled")
		default:
		}
		n.Run("iptables-"+flavour, "-A", "INPUT", "-j", "ACCEPT")
		select {
		case <-changed:
		case <-time.After(60 * time.Second):
			t.Error("an external change was not signalled")
		}
	})
}

func TestUserChainIsKept(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		b := opened(t, n, flavour)
		mustSync(t, b, state(1))
		n.Run("iptables-"+flavour, "-A", "FAIRLEAD-USER", "-s", "203.0.113.0/24", "-j", "DROP")
		const rule = "-A FAIRLEAD-USER -s 203.0.113.0/24 -j DROP"
		n.Run("iptables-"+flavour, "-D", "FORWARD", "-j", "FAIRLEAD-USER")
		n.Run("iptables-"+flavour, "-F", "FAIRLEAD-TO")
		mustSync(t, b, firewall.State{})
		if got := saved(n, flavour); !strings.Contains(got, rule) ||
			!strings.Contains(got, "-A FORWARD -j FAIRLEAD-USER\n-A FORWARD -j FAIRLEAD-FORWARD\n") {
			t.Errorf("the user's rule or the jump to it is gone:\n%s", got)
		}
		if err := iptables.Remove(context.Background(), at(n), ""); err != nil {
			t.Fatal(err)
		}
		if got := ownLines(saved(n, flavour)); got != ":FAIRLEAD-USER - \n"+rule && got != rule+"\n:FAIRLEAD-USER - " {
			t.Errorf("after Remove, more or less than the user's chain is left:\n%s", got)
		}
	})
}

func TestRemoveKeepsForeignRules(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		n.Run("sh", "-ec", strings.ReplaceAll(`CMD -P FORWARD DROP; CMD -N mine; CMD -A FORWARD -j mine; CMD -A mine -i lo -j ACCEPT
			CMD -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE; CMD -t raw -A OUTPUT -d 192.0.2.1 -j DROP`, "CMD", "iptables-"+flavour))
		for _, v := range []string{"iptables-", "ip6tables-"} { // listing creates the tables in one flavor
			n.Run("sh", "-ec",
				strings.ReplaceAll("for t in raw filter nat; do CMD -t $t -S; CMD -t $t -P OUTPUT ACCEPT; done", "CMD",
					v+flavour))
		}
		before := tables(saved(n, flavour))
		mustSync(t, opened(t, n, flavour), state(100))
		if err := iptables.Remove(context.Background(), at(n), ""); err != nil {
			t.Fatal(err)
		}
		if after := tables(saved(n, flavour)); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func TestOnlyOtherTargetsCountAsRemoved(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		b := opened(t, n, flavour)
		mustSync(t, b, state(3))
		want := state(3)
		want.Bindings[0].OwnerName = "shop" // same port and container
		want.Bindings[1].ContainerIP = netip.MustParseAddr("10.10.1.9")
		c := mustSync(t, b, want)
		if c.Rebuilt || c.Added != 2 || len(c.Removed) != 1 || c.Removed[0] != state(3).Bindings[1] {
			t.Errorf("changed %+v", c)
		}
		if got := saved(n, flavour); !strings.Contains(got, `"shop 80/tcp" -j DNAT --to-destination 10.10.1.2:80`) || strings.Count(got, "--to-destination") != 3 {
			t.Errorf("rules:\n%s", got)
		}
	})
}

func TestFamilyErrorRollsBackOther(t *testing.T) {
	eachFlavour(t, func(t *testing.T, flavour string) {
		n := testns.New(t)
		b := opened(t, n, flavour)
		mustSync(t, b, state(0))
		n.Run("sh", "-ec", strings.ReplaceAll("CMD -t nat -F; CMD -t nat -X", "CMD", "ip6tables-"+flavour))
		if err := b.AddBindings(context.Background(), eachForm()[:2]); err == nil {
			t.Fatal("got no error")
		}
		if got := saved(n, flavour); strings.Contains(got, "DNAT --to") {
			t.Errorf("left:\n%s", got)
		}
		mustSync(t, b, state(0))
		if err := b.AddBindings(context.Background(), eachForm()[:2]); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for _, flavour := range []string{iptables.NFT, iptables.Legacy} {
		for _, ports := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", flavour, ports), func(b *testing.B) {
				if _, err := exec.LookPath("iptables-" + flavour); err != nil {
					b.Skip("needs iptables-" + flavour)
				}
				fw, one := opened(b, testns.New(b), flavour), eachForm()[:1]
				mustSync(b, fw, state(ports))
				for b.Loop() {
					if err := fw.AddBindings(context.Background(), one); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := fw.RemoveBindings(context.Background(), one); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}

// TestUnsupportedIsRejected checks that a backend without a required table or match is rejected.
func TestUnsupportedIsRejected(t *testing.T) {
	for name, row := range map[string]struct{ mask, want string }{
		"no raw table":  {`case "$*" in *raw*) echo "can't initialize iptables table raw: Table does not exist" >&2; exit 3;; esac`, "kernel: does not have the iptables table raw"},
		"no nat table":  {`case "$*" in *nat*) echo "can't initialize iptables table nat: Table does not exist" >&2; exit 3;; esac`, "kernel: does not have the iptables table nat"},
		"no conntrack":  {`case "$0" in *restore) echo "unknown option --ctstate" >&2; exit 2;; esac`, "--ctstate"},
		"no permission": {`case "$*" in *-S*) echo "Permission denied (you must be root)" >&2; exit 4;; esac`, "CAP_NET_ADMIN"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, tool := range []string{"iptables-legacy", "iptables-legacy-restore", "ip6tables-legacy",
				"ip6tables-legacy-restore"} {
				real, err := exec.LookPath(tool)
				if err != nil {
					t.Skip(err)
				}
				script := "#!/bin/sh\n" + row.mask + "\nexec " + real + " \"$@\"\n"
				if err := os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			n := testns.New(t)
			_, err := iptables.Probe(context.Background(), at(n), iptables.Legacy)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want it to contain %q", err, row.want)
			}
		})
	}
}
