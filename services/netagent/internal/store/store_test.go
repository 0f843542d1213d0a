package store_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *store.Store, all ...store.Network) {
	t.Helper()
	if err := s.PutNetworks(all...); err != nil {
		t.Fatal(err)
	}
}

func TestStoreSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	n := network.BridgeSettings{FixedCIDRv6: netip.MustParsePrefix("fd00::/64")}.WithDefaults().Predefined()[0]
	n.ID = id.New()
	sb := endpoint.Sandbox{Owner: id.New(), Mode: endpoint.Private, NetnsPath: "/run/netns/x",
		Endpoints: []endpoint.Endpoint{{
			ID: id.New(), NetworkID: n.ID, Interface: "eth0", MAC: network.MACOf(netip.MustParseAddr("172.17.0.2")),
			IPv4: netip.MustParsePrefix("172.17.0.2/16"), Gateway4: netip.MustParseAddr("172.17.0.1")}}}
	put(t, s, store.Network{Network: n})
	if err := s.SetApplied(n.ID, "content"); err != nil {
		t.Fatal(err)
	}

	if err := s.PutSandbox(sb); err != nil {
		t.Fatal(err)
	}

	if err := s.RecordSysctls(store.Sysctl{Path: "a", Original: "0", Current: "1"}); err != nil {
		t.Fatal(err)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	if got, _ := s.Sandbox(sb.Owner); !reflect.DeepEqual(got, sb) {
		t.Errorf("got sandbox %+v, want %+v", got, sb)
	}

	n.Status.AppliedFingerprint = "content"
	if got, _ := s.NetworkNamed("bridge"); !reflect.DeepEqual(got, store.Network{Network: n}) {
		t.Errorf("got network %+v, want %+v", got, n)
	}

	if got, ok := s.SandboxAt("/run/netns/x"); !ok || got.Owner != sb.Owner || len(s.SandboxesOn(n.ID)) != 1 {
		t.Error("got no sandbox by namespace path or network")
	}

	if err := s.RecordSysctls(store.Sysctl{Path: "a", Original: "1", Current: "1"}); err != nil {
		t.Fatal(err)
	}

	if got := s.Sysctls(); len(got) != 1 || got[0].Original != "0" {
		t.Errorf("got %v, want the first value", got)
	}
}

func TestFindNetworkPrefersIDThenName(t *testing.T) {
	s := open(t, t.TempDir())
	const a, b = "aaaa", "aabb"
	put(t, s, store.Network{Network: network.Network{ID: a, Name: "bridge"}},
		store.Network{Network: network.Network{ID: b, Name: "aaa"}})

	for ref, want := range map[string]string{"aaaa": a, "bridge": a, "default": a, "aaa": b, "aab": b} {
		if got, err := s.FindNetwork(ref); err != nil || got.ID != want {
			t.Errorf("%s: got %s, %v, want %s", ref, got.ID, err, want)
		}
	}

	for ref, kind := range map[string]fault.Kind{"aa": fault.Invalid, "zz": fault.NotFound, "": fault.Invalid} {
		if _, err := s.FindNetwork(ref); !fault.Is(err, kind) {
			t.Errorf("%q: got %v, want %v", ref, err, kind)
		}
	}
}
