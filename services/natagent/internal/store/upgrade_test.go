package store_test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/store"
)

// TestVersion1Upgraded opens a store with a record of version 1.
func TestVersion1Upgraded(t *testing.T) {
	dir, owner := t.TempDir(), strings.Repeat("a", 64)
	publications := state.NewTable("publications",
		func(r *map[string]any) string { return (*r)["Owner"].(string) })
	networks := state.NewTable("networks", func(r *map[string]any) string { return (*r)["ID"].(string) })
	db, err := state.Open(filepath.Join(dir, "nat.db"), publications, networks)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *state.Tx) error {
		return publications.Put(tx, &map[string]any{
			"Owner": owner, "OwnerName": "web", "IPv4": "10.0.0.2", "IPv6": "",
			"Mappings": []map[string]any{{"Protocol": "tcp", "HostIP": "", "HostPort": 8080, "HostPortEnd": 0,
				"ContainerPort": 80, "ContainerPortEnd": 0}},
			"Addresses": []map[string]any{{"HostIP": "10.9.0.1", "NoSNAT": true}},
			"Bindings": []map[string]any{{"Protocol": "tcp", "HostIP": "0.0.0.0", "HostPort": 8080,
				"ContainerIP": "10.0.0.2", "ContainerPort": 80, "OwnerName": "web"}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	v4 := netip.MustParseAddr("10.0.0.2")
	want := &publication.Publication{Owner: owner, OwnerName: "web", IPv4: v4,
		Mappings:  []port.Mapping{{Protocol: port.TCP, Host: port.Single(8080), Container: port.Single(80)}},
		Addresses: []port.Address{{HostIP: netip.MustParseAddr("10.9.0.1"), NoSNAT: true}},
		Bindings: []port.Binding{{Protocol: port.TCP, HostIP: netip.IPv4Unspecified(), Host: port.Single(8080),
			ContainerIP: v4, Container: port.Single(80), OwnerName: "web"}}}
	got, ok := st.Publication(owner)
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); !ok || d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}
