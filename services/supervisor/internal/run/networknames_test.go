package run_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestConnectRegistersNetworkNames(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.ConnectNetwork(t.Context(), "web",
		container.Attachment{Network: "n", Aliases: []string{"www"}}); err != nil {
		t.Fatal(err)
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	if len(h.known) != 2 {
		t.Fatalf("got %v", h.known)
	}

	on := h.known[0].GetNetworks()
	if len(on) != 1 || on[0].GetNetworkName() != "n1" ||
		!slices.Equal(on[0].GetNames(), []string{"web", "www", c.ID[:12]}) ||
		!slices.Equal(on[0].GetAddresses(), []string{"172.18.0.2"}) ||
		!slices.Equal(h.known[0].GetAddresses(), []string{"172.17.0.2", "172.18.0.2"}) {
		t.Errorf("after the connect: got %v", h.known[0])
	}

	if len(h.known[1].GetNetworks()) != 0 || !slices.Equal(h.known[1].GetAddresses(), []string{"172.17.0.2"}) {
		t.Errorf("after the disconnect: got %v", h.known[1])
	}
}

func TestNetworkLinkEndsWithDisconnect(t *testing.T) {
	h := newHost(t)
	db, web := h.mustRun(t, request("db")), h.mustRun(t, request("web"))
	err := h.runner.ConnectNetwork(t.Context(), "web",
		container.Attachment{Network: "n1",
			Links: []container.Link{{Container: "db", Alias: "store"}, {Container: db.ID[:12]}}})
	if err != nil {
		t.Fatal(err)
	}

	if now, err := h.runner.Find(web.ID); err != nil ||
		!slices.Equal(now.Config.Network.Attachments[1].Links,
			[]container.Link{{Container: db.ID, Alias: "store"}, {Container: db.ID, Alias: "db"}}) {
		t.Errorf("got %+v, %v", now, err)
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	if len(h.known) != 2 {
		t.Fatalf("got %v", h.known)
	}

	var got []string
	for _, a := range h.known[0].GetLinkAliases() {
		got = append(got, a.GetAlias()+"="+a.GetName())
	}

	if !slices.Equal(got, []string{"store=" + db.ID[:12] + ".n1", "db=" + db.ID[:12] + ".n1"}) ||
		len(h.known[1].GetLinkAliases()) != 0 {
		t.Errorf("got %v", h.known)
	}
}

func TestConnectRejectsInvalidLinks(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	for _, c := range []struct {
		a    container.Attachment
		kind fault.Kind
	}{
		{container.Attachment{Network: "n1", Links: []container.Link{{Container: "nosuch", Alias: "x"}}},
			fault.NotFound},
		{container.Attachment{Network: "n1", Links: []container.Link{{Container: "web", Alias: "a/b"}}}, fault.Invalid},
		{container.Attachment{Network: "bridge", Links: []container.Link{{Container: "web", Alias: "x"}}},
			fault.Invalid},
	} {
		if err := h.runner.ConnectNetwork(t.Context(), "web", c.a); !fault.Is(err, c.kind) {
			t.Errorf("%+v: got %v", c.a, err)
		}
	}

	if now, err := h.runner.Find("web"); err != nil || len(now.Config.Network.Attachments) != 1 || len(h.known) != 0 {
		t.Errorf("got %+v, %v, updates %v", now, err, h.known)
	}
}

func TestConnectUndoneWithoutNames(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.fail = "update names"
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err == nil {
		t.Error("got no error")
	}
	h.wantHeld(t, c.ID, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	if now, err := h.runner.Find("web"); err != nil || len(now.Config.Network.Attachments) != 1 {
		t.Errorf("got %+v, %v", now, err)
	}
}

func TestExitedOwnerKeepsFilesWithoutNames(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("b1"))
	h.mustRun(t, joining("b2", "b1"))
	h.end(t, owner)
	if len(h.known) != 1 || h.known[0].GetOwner() != owner.ID ||
		len(h.known[0].GetNetworks())+len(h.known[0].GetAddresses()) != 0 {
		t.Errorf("got %v", h.known)
	}
	h.wantHeld(t, owner.ID, "names", "sandbox")
}
