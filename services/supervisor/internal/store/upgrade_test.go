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
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// TestVersion1Upgraded opens a store with containers of version 1, one of them stopped.
func TestVersion1Upgraded(t *testing.T) {
	dir, running, stopped := t.TempDir(), strings.Repeat("a", 64), strings.Repeat("b", 64)
	type object = map[string]any
	containers := state.NewTable("containers", func(r *object) string { return (*r)["ID"].(string) })
	images := state.NewTable("images", func(r *object) string { return (*r)["ID"].(string) })
	db, err := state.Open(filepath.Join(dir, "supervisor.db"), containers, images)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *state.Tx) error {
		err := containers.Put(tx, &object{"ID": stopped, "Config": object{"Name": "db", "Network": object{
			"Mode": "bridge", "Publish": nil, "Expose": nil}}, "Process": object{"Exposed": nil}, "Live": nil})
		if err != nil {
			return err
		}
		return containers.Put(tx, &object{"ID": running,
			"Config": object{"Name": "web", "Network": object{"Mode": "bridge",
				"Publish": []object{{"Protocol": "tcp", "HostIP": "", "HostPort": 8000, "HostPortEnd": 8001,
					"ContainerPort": 80, "ContainerPortEnd": 81, "Sources": ""}},
				"Expose":    []object{{"Protocol": "udp", "Port": 53, "End": 0}},
				"Addresses": []object{{"HostIP": "10.9.0.1", "NoSNAT": false, "Sources": ""}}}},
			"Process": object{"Args": []string{"nginx"},
				"Exposed": []object{{"Protocol": "tcp", "Port": 1, "End": 100}}},
			"Live": object{"PID": 7, "Bindings": []object{{"Protocol": "tcp", "HostIP": "0.0.0.0", "HostPort": 0,
				"ContainerIP": "10.0.0.2", "ContainerPort": 80, "HostPortEnd": 0, "ContainerPortEnd": 81,
				"Outgoing": false, "Sources": ""}}}})
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
	v4, ports := netip.MustParseAddr("10.0.0.2"), port.Range{First: 80, Last: 81}
	want := map[string]*container.Container{
		stopped: {ID: stopped, Config: container.Config{Name: "db", Network: container.Network{Mode: "bridge"}}},
		running: {ID: running, Config: container.Config{Name: "web", Network: container.Network{Mode: "bridge",
			Publish: []port.Mapping{{Protocol: port.TCP, Host: port.Range{First: 8000, Last: 8001},
				Container: ports}},
			Expose:    []port.Exposed{{Protocol: port.UDP, Ports: port.Single(53)}},
			Addresses: []port.Address{{HostIP: netip.MustParseAddr("10.9.0.1")}}}},
			Process: container.Process{Args: []string{"nginx"},
				Exposed: []port.Exposed{{Protocol: port.TCP, Ports: port.Range{First: 1, Last: 100}}}},
			Live: &container.RunState{PID: 7, Bindings: []port.Binding{{Protocol: port.TCP, HostIP: v4, Host: ports,
				ContainerIP: v4, Container: ports}}}}}
	for id, want := range want {
		got, err := st.GetContainer(id)
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || d != "" {
			t.Errorf("%v, want - got +:\n%s", err, d)
		}
	}
}
