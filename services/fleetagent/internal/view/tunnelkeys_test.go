package view

import (
	"slices"
	"testing"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

func TestHostsWithoutTunnelKeys(t *testing.T) {
	keys := func(generations ...uint64) *fleetv1.HostInfo {
		info := &fleetv1.HostInfo{}
		for _, g := range generations {
			info.TunnelKeys = append(info.TunnelKeys, &fleetv1.TunnelKey{Generation: g})
		}
		return info
	}
	v := &View{host: "a", hosts: map[string]*fleetv1.Host{"a": {Name: "one"}, "b": {Name: "two"}, "c": {Name: "three"},
		"d": {Name: "four"}}, infos: map[string]*fleetv1.HostInfo{"a": keys(4, 5), "b": keys(4), "c": keys(),
		"e": keys(9)}}
	lacking, late := v.WithoutTunnelKeys()
	if !slices.Equal(lacking, []string{"four", "three"}) || !slices.Equal(late, []string{"two"}) {
		t.Errorf("got %v and %v", lacking, late)
	}
	if got := v.TunnelKeys(); len(got) != 2 || got[1].GetGeneration() != 5 {
		t.Errorf("keys: got %v", got)
	}

	if v.HasEncrypted() {
		t.Error("encrypted: got true without networks")
	}
	v.networks = map[string]*fleetv1.OverlayNetwork{"n": {Encrypted: true, Deleted: true}, "m": {}}
	if v.HasEncrypted() {
		t.Error("encrypted: got true for a deleted network")
	}
	if v.networks["n"].Deleted = false; !v.HasEncrypted() {
		t.Error("encrypted: got false")
	}
}
