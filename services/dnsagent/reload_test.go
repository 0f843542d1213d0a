package dnsagent_test

import (
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

var _ service.Reloader[dnsagent.Config] = (*dnsagent.Service)(nil)

func TestReloadAppliesToNewContainers(t *testing.T) {
	m := newMachine(t)
	cfg := m.config()
	svc, err := dnsagent.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}

	client, disconnect := connect(t, svc)
	defer func() {
		disconnect()
		_ = svc.Close()
	}()

	plain := func() *dnsv1.RegisterRequest {
		return &dnsv1.RegisterRequest{Owner: id.New(), FileSource: dnsv1.FileSource_FILE_SOURCE_GENERATED,
			Hostname: "web"}
	}

	before := register(t, client, plain())
	untouched := m.read(before.GetResolvConfPath())

	cfg.Servers, cfg.Search, cfg.Options = []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		[]string{"corp.example"}, []string{"ndots:2"}
	if err := svc.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	want := "search corp.example\nnameserver 9.9.9.9\noptions ndots:2\n"
	if got := m.read(register(t, client, plain()).GetResolvConfPath()); got != want {
		t.Errorf("after the reload: got %q, want %q", got, want)
	}

	if got := m.read(before.GetResolvConfPath()); got != untouched {
		t.Errorf("container from before the reload: got %q", got)
	}

	cfg.Search = []string{"not a domain"}
	if err := svc.Reload(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
		t.Errorf("invalid configuration: got %v", err)
	}

	if got := m.read(register(t, client, plain()).GetResolvConfPath()); got != want {
		t.Errorf("after an invalid configuration: got %q", got)
	}
}
