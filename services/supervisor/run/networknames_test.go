package run_test

import (
	"slices"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/container"
)

func TestAConnectedContainerIsKnownOnTheNetworkUntilItIsDisconnected(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n", Aliases: []string{"www"}}); err != nil {
		t.Fatal(err)
	}
	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}
	if len(h.known) != 2 {
		t.Fatalf("told %v", h.known)
	}
	on := h.known[0].GetNetworks()
	if len(on) != 1 || on[0].GetNetworkName() != "n1" || !slices.Equal(on[0].GetNames(), []string{"web", "www", c.ID[:12]}) ||
		!slices.Equal(on[0].GetAddresses(), []string{"172.18.0.2"}) || !slices.Equal(h.known[0].GetAddresses(), []string{"172.17.0.2", "172.18.0.2"}) {
		t.Errorf("after the connect: %v", h.known[0])
	}
	if len(h.known[1].GetNetworks()) != 0 || !slices.Equal(h.known[1].GetAddresses(), []string{"172.17.0.2"}) {
		t.Errorf("after the disconnect: %v", h.known[1])
	}
}

func TestAConnectWhoseNamesCannotBeToldIsUndone(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.fail = "update names"
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err == nil {
		t.Error("it worked")
	}
	h.wantHeld(t, c.ID, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	if now, err := h.runner.Find("web"); err != nil || len(now.Config.Network.Attachments) != 1 {
		t.Errorf("%+v, %v", now, err)
	}
}

func TestAnOwnerThatEndsIsNotFoundByNameThoughItsFilesAreShared(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("b1"))
	h.mustRun(t, joining("b2", "b1"))
	h.end(t, owner)
	if len(h.known) != 1 || h.known[0].GetOwner() != owner.ID || len(h.known[0].GetNetworks())+len(h.known[0].GetAddresses()) != 0 {
		t.Errorf("told %v", h.known)
	}
	h.wantHeld(t, owner.ID, "names", "sandbox")
}
