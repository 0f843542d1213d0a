package route_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/route"
	"github.com/fairlead/fairlead/agent/service"
)

func dial(t *testing.T) *route.Table {
	t.Helper()
	cfg, err := config.Build()
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.Dial(cfg, []service.Spec{
		{Name: "net", Title: "netagent", Packages: []string{"fairlead.network.v1"}},
		{Name: "supervisor", Title: "supervisor", Packages: []string{"fairlead.container.v1", "fairlead.host.v1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

func TestRouteByProtoPackage(t *testing.T) {
	table := dial(t)
	for method, want := range map[string]string{
		"/fairlead.network.v1.NetworkService/ListNetworks": "net.sock",
		"/fairlead.network.v1.SandboxService/Unknown":      "net.sock",
		"/fairlead.container.v1.ContainerService/Run":      "supervisor.sock",
		"/fairlead.host.v1.HostService/GetInfo":            "supervisor.sock",
		"/fairlead.network.v10.NetworkService/X":           "",
		"/fairlead.network.v1/X":                           "",
		"/fairlead.nat.v1.FirewallService/ListNetworks":    "",
		"/grpc.health.v1.Health/Check":                     "",
		"/NetworkService/ListNetworks":                     "",
		"":                                                 "",
	} {
		conn := table.Route(method)
		switch {
		case want == "" && conn != nil:
			t.Errorf("%q: got %s, want none", method, conn.Target())
		case want != "" && (conn == nil || !strings.HasSuffix(conn.Target(), "/"+want)):
			t.Errorf("%q: got %v, want %s", method, conn, want)
		}
	}
}

func TestConnByName(t *testing.T) {
	table := dial(t)
	if table.Conn("net") == nil {
		t.Error("net: got no connection")
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown name did not panic")
		}
	}()
	table.Conn("nat")
}
