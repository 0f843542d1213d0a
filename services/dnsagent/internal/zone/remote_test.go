package zone_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

func remote(host, owner, addresses, names string) zone.Remote {
	return zone.Remote{Host: host, Owner: owner, Member: member("app", addresses, names)}
}

// fleet returns a zone with a container of this host and some of two others.
func fleet() *zone.Zone {
	z := &zone.Zone{}
	z.Put(zone.Container{Owner: "web", Members: []zone.Member{member("app", "10.1.0.2", "web site")}})
	z.Put(zone.Container{Owner: "apart", Members: []zone.Member{member("other", "10.2.0.2", "apart")}})
	z.ApplyRemote(zone.RemoteChange{Reset: true, Node: "one",
		Hosts: []zone.Host{{ID: "h2", Name: "two"}, {ID: "h3", Name: "Three", Suspect: true}},
		Remotes: []zone.Remote{remote("h2", "db", "10.1.0.18 fd00::18", "db 0123456789ab site"),
			remote("h3", "db2", "10.1.0.34", "db2 site")}})
	return z
}

func ask(z *zone.Zone, client, name string) string {
	found, ok := z.Lookup(client, name, netip.Addr.Is4)
	if !ok {
		return "unknown"
	}
	return strings.Trim(fmt.Sprint(found), "[]")
}

func TestNamesOfOtherHosts(t *testing.T) {
	z := fleet()
	for name, want := range map[string]string{
		"db": "10.1.0.18", "DB.app": "10.1.0.18", "0123456789ab": "10.1.0.18", "db.two": "10.1.0.18",
		"db.TWO": "10.1.0.18", "db.three": "unknown", "db2.three": "10.1.0.34", "web.one": "10.1.0.2",
		"web.two": "unknown", "db.nowhere": "unknown", "db.one": "unknown",
		"site":     "10.1.0.2 10.1.0.18 10.1.0.34", // this host, another one, a lost one
		"site.app": "10.1.0.2 10.1.0.18 10.1.0.34", "site.three": "10.1.0.34", "site.one": "10.1.0.2",
	} {
		for range 5 { // the order of equal ranks is random
			if got := ask(z, "web", name); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
				break
			}
		}
	}
	if got := ask(z, "apart", "db"); got != "unknown" {
		t.Errorf("from another network: got %s", got)
	}
	if name, ok := z.Reverse("web", netip.MustParseAddr("fd00::18")); !ok || name != "db.app" {
		t.Errorf("got PTR %s, %v", name, ok)
	}
	if !z.Registered("db2") || !z.Assigned(netip.MustParseAddr("10.1.0.34")) {
		t.Error("remote names and addresses are not registered")
	}
}

func TestLostHostsAnswerLastButAnswer(t *testing.T) {
	z := fleet()
	z.ApplyRemote(zone.RemoteChange{Hosts: []zone.Host{{ID: "h2", Name: "two", Suspect: true},
		{ID: "h3", Name: "three"}}})
	if got := ask(z, "web", "site"); got != "10.1.0.2 10.1.0.34 10.1.0.18" {
		t.Errorf("got %s, want the lost host last", got)
	}
	if got := ask(z, "web", "db"); got != "10.1.0.18" {
		t.Errorf("got %s, want the address of the lost host", got)
	}
	z.ApplyRemote(zone.RemoteChange{RemovedHosts: []string{"h2"}})
	if got := ask(z, "web", "site") + ", " + ask(z, "web", "db"); got != "10.1.0.2 10.1.0.34, unknown" {
		t.Errorf("got %s after the removal of a host", got)
	}
	z.ApplyRemote(zone.RemoteChange{Removed: []zone.RemoteKey{{Host: "h3", Network: "id-of-app", Owner: "db2"}}})
	if got := ask(z, "web", "site"); got != "10.1.0.2" {
		t.Errorf("got %s after the removal of an endpoint", got)
	}
	z.ApplyRemote(zone.RemoteChange{Reset: true})
	if got := ask(z, "web", "web.one"); got != "unknown" {
		t.Errorf("got %s on a host without a fleet", got)
	}
}

// TestRemoteChangesLeaveNothing applies random changes and removes everything.
func TestRemoteChangesLeaveNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := &zone.Zone{}
		z.Put(zone.Container{Owner: "web", Members: []zone.Member{member("app", "10.1.0.2", "web")}})
		want := map[string]string{}
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			host := rapid.SampledFrom([]string{"h1", "h2"}).Draw(t, "host")
			owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner")
			name := host + "-" + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				z.ApplyRemote(zone.RemoteChange{RemovedHosts: []string{host}})
				delete(want, host+"a")
				delete(want, host+"b")
			case 1:
				key := zone.RemoteKey{Host: host, Network: "id-of-app", Owner: owner}
				z.ApplyRemote(zone.RemoteChange{Removed: []zone.RemoteKey{key}})
				delete(want, host+owner)
			default:
				z.ApplyRemote(zone.RemoteChange{Remotes: []zone.Remote{remote(host, owner, "10.1.0.9", name)}})
				want[host+owner] = name
			}
			known := map[string]bool{}
			for _, name := range want {
				known[name] = true
			}
			for _, name := range []string{"h1-x", "h1-y", "h2-x", "h2-y"} {
				_, ok := z.Lookup("web", name, netip.Addr.Is4)
				if ok != known[name] || z.Registered(name) != known[name] {
					t.Fatalf("%s: got known %v, want %v", name, ok, known[name])
				}
			}
		}
		z.ApplyRemote(zone.RemoteChange{Reset: true})
		if z.Assigned(netip.MustParseAddr("10.1.0.9")) {
			t.Fatal("an address is left")
		}
		if got := ask(z, "web", "web"); got != "10.1.0.2" {
			t.Fatalf("got %s for a container of this host", got)
		}
	})
}
