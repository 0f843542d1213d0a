package run_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

func joining(name, with string) launch.Request {
	return launch.Request{Config: container.Config{Name: name, Image: "busybox", Command: []string{"true"},
		Network: container.Network{Mode: container.Mode("container:" + with)}}}
}

// mustRun launches a container and returns it.
func (h *host) mustRun(t *testing.T, req launch.Request) *container.Container {
	t.Helper()
	l, err := h.runner.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return l.Container
}

// end stops a container and waits for the cleanup.
func (h *host) end(t *testing.T, c *container.Container) {
	t.Helper()
	if err := h.runner.Stop(t.Context(), c.ID, nil, ""); err != nil {
		t.Fatal(err)
	}
}

func TestJoinerHasNamespaceOfOwnerAndOwnNames(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("b1"))
	joiner := h.mustRun(t, joining("b2", "b1"))
	h.wantHeld(t, joiner.ID, "bundle", "mount", "names")
	if l := joiner.Live; l.NetnsPath != owner.Live.NetnsPath || l.SharedWith != owner.ID ||
		l.Files.Hosts == owner.Live.Files.Hosts || len(l.Endpoints) > 0 {
		t.Errorf("got %+v", l)
	}

	if joiner.Live.Files.HostName != joiner.ID[:12] {
		t.Errorf("got host name %s", joiner.Live.Files.HostName)
	}

	if joiner.Config.Network.Mode != container.ModeJoin(owner.ID) {
		t.Errorf("got mode %s", joiner.Config.Network.Mode)
	}
}

func TestNamespaceKeptUntilLastJoinedExits(t *testing.T) {
	for _, crash := range []bool{false, true} {
		h := newHost(t)
		owner := h.mustRun(t, request("b1"))
		one, two := h.mustRun(t, joining("b2", "b1")), h.mustRun(t, joining("b3", "b2"))
		if two.Live.SharedWith != owner.ID {
			t.Errorf("container joined to a joined one: got owner %s", two.Live.SharedWith)
		}
		h.end(t, owner)
		h.wantHeld(t, owner.ID, "names", "sandbox")
		if crash {
			h.crash(t)
			if err := h.runner.Restore(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.wantHeld(t, owner.ID, "names", "sandbox")
		}
		if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.end(t, one)
		h.wantHeld(t, owner.ID, "names", "sandbox")
		h.end(t, two)
		h.wantHeld(t, owner.ID)
	}
}

func TestOwnerRestartReusesNamespace(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("b1"))
	joiner := h.mustRun(t, joining("b2", "b1"))
	h.end(t, owner)
	if _, err := h.runner.Start(t.Context(), "b1", false, 0, 0); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(t, owner.ID, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	h.end(t, joiner)
	h.wantHeld(t, owner.ID, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	h.end(t, owner)
	h.wantHeld(t, "")
}

func TestOwnerRemovalKeepsSharedNamespace(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("b1"))
	h.mustRun(t, joining("b2", "b1"))
	if err := h.runner.Remove(t.Context(), "b1", true, false); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, owner.ID, "names", "sandbox")
	if _, err := h.runner.Run(t.Context(), joining("b3", "b1")); !fault.Is(err, fault.NotFound) {
		t.Errorf("join of a removed container: got %v", err)
	}

	if err := h.runner.Remove(t.Context(), "b2", true, false); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, "")
}

func TestJoinRequiresRunningContainer(t *testing.T) {
	h := newHost(t)
	owner := h.mustRun(t, request("own"))
	if _, err := h.runner.Create(t.Context(), joining("dd", "own")); err != nil {
		t.Fatal(err)
	}

	h.end(t, owner)
	if _, err := h.runner.Start(t.Context(), "dd", false, 0, 0); !fault.Is(err, fault.Busy) ||
		!strings.Contains(err.Error(),
			"cannot join network namespace of a non running container: container own is exited") {
		t.Errorf("join of a stopped container: got %v", err)
	}

	if err := h.runner.Remove(t.Context(), "own", false, false); err != nil {
		t.Fatal(err)
	}

	if _, err := h.runner.Start(t.Context(), "dd", false, 0, 0); !fault.Is(err, fault.NotFound) ||
		!strings.Contains(err.Error(), "No such container") {
		t.Errorf("join of a removed container: got %v", err)
	}

	if _, err := h.runner.Create(t.Context(), joining("ee", "nosuch")); !fault.Is(err, fault.NotFound) {
		t.Errorf("join of an unknown container: got %v", err)
	}

	h.wantHeld(t, "")
}

func TestEndpointsKeepRequestedOrder(t *testing.T) {
	h := newHost(t)
	req := request("web")
	req.Config.Network = container.Network{Attachments: []container.Attachment{{Network: "n", Priority: 3},
		{Network: "default"}}}
	c := h.mustRun(t, req)
	if c.Config.Network.Mode != "n1" {
		t.Errorf("got mode %s", c.Config.Network.Mode)
	}

	var got []string
	for _, e := range h.asked[0].GetEndpoints() {
		got = append(got, e.GetNetwork())
	}

	if !slices.Equal(got, []string{"n1", "bridge"}) || h.asked[0].GetEndpoints()[0].GetGatewayPriority() != 3 ||
		h.asked[0].GetOwnerName() != "web" {
		t.Errorf("got request %v", h.asked[0])
	}

	req = request("other")
	req.Config.Network.Mode = "nosuch"
	if _, err := h.runner.Create(t.Context(), req); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown network: got %v", err)
	}

	req.Config.Network = container.Network{Attachments: []container.Attachment{{Network: "n"}, {Network: "n1"}}}
	if _, err := h.runner.Create(t.Context(), req); !fault.Is(err, fault.Invalid) {
		t.Errorf("duplicate network: got %v", err)
	}
}

func TestPortsMoveWithDefaultRoute(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n"}); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, c.ID, "bundle", "endpoint on n1", "endpoints", "mount", "names", "ports", "sandbox")
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); !fault.Is(err,
		fault.Exists) {
		t.Errorf("second connect: got %v", err)
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	if want := []string{"172.17.0.2", "172.18.0.2", "172.17.0.2"}; !slices.Equal(h.forwardedTo, want) {
		t.Errorf("got ports at %v, want %v", h.forwardedTo, want)
	}

	now, err := h.runner.Find("web")
	if err != nil || len(now.Live.Endpoints) != 1 || len(now.Config.Network.Attachments) != 1 {
		t.Errorf("got %+v, %v", now, err)
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("second disconnect: got %v", err)
	}
}

func TestConnectStoppedAppliesAtStart(t *testing.T) {
	h := newHost(t)
	if _, err := h.runner.Create(t.Context(), request("web")); err != nil {
		t.Fatal(err)
	}

	for _, step := range []func() error{
		func() error { return h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}) },
		func() error { return h.runner.DisconnectNetwork(t.Context(), "web", "bridge") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	if e := h.asked[0].GetEndpoints(); len(e) != 1 || e[0].GetNetwork() != "n1" {
		t.Errorf("got request %v", e)
	}
}

func TestConnectRejectsUnsupportedModes(t *testing.T) {
	h := newHost(t)
	plain := func(name string, mode container.Mode) launch.Request {
		return launch.Request{Config: container.Config{Name: name, Image: "busybox", Command: []string{"true"},
			Network: container.Network{Mode: mode}}}
	}

	h.mustRun(t, plain("web", "bridge"))
	h.mustRun(t, plain("hosted", "host"))
	h.mustRun(t, plain("alone", "none"))
	h.mustRun(t, plain("joined", "container:web"))
	const sharing = "container sharing network namespace with another container or host " +
		"cannot be connected to any other network"
	const private = "container cannot be connected to multiple networks " +
		"with one of the networks in private (none) mode"
	for _, c := range []struct{ ref, network, text string }{
		{"hosted", "n1", sharing},
		{"joined", "n1", sharing},
		{"alone", "n1", private},
		{"web", "none", private},
		{"web", "host", "cannot connect container to host network - container must be created in host network mode"},
		{"web", "nosuch", "not found"},
		{"nosuch", "n1", "No such container: nosuch"},
	} {
		if err := h.runner.ConnectNetwork(t.Context(), c.ref, container.Attachment{Network: c.network}); err == nil ||
			!strings.Contains(err.Error(), c.text) {
			t.Errorf("%s to %s: got %v", c.ref, c.network, err)
		}
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "hosted", "host"); err == nil ||
		!strings.Contains(err.Error(), "cannot disconnect container from host network") {
		t.Errorf("disconnect of host: got %v", err)
	}
}

func TestStaticAddressReservedUntilRemoval(t *testing.T) {
	h := newHost(t)
	fixed := request("web")
	fixed.Config.Network = container.Network{Attachments: []container.Attachment{{Network: "n1",
		IPv4: netip.MustParseAddr("10.0.0.5")}}}
	h.fail = "reserve addresses"
	if _, err := h.runner.Create(t.Context(), fixed); err == nil {
		t.Fatal("created without its address")
	}

	h.wantHeld(t, "")
	h.fail = ""
	l, err := h.runner.Create(t.Context(), fixed)
	if err != nil {
		t.Fatal(err)
	}

	uid := l.Container.ID
	h.wantHeld(t, uid, "addresses")
	h.fail = "publish ports"
	if _, err := h.runner.Start(t.Context(), "web", false, 0, 0); err != nil { // no ports to publish
		t.Fatal(err)
	}

	h.fail = ""
	h.end(t, l.Container)
	h.wantHeld(t, uid, "addresses")
	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, uid)
	if err := h.runner.ConnectNetwork(t.Context(), "web",
		container.Attachment{Network: "n1", IPv4: netip.MustParseAddr("10.0.0.6")}); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, uid, "addresses")
	if err := h.runner.Remove(t.Context(), "web", false, false); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, "")
	fixed.Config.AutoRemove = true
	h.end(t, h.mustRun(t, fixed))
	h.wantHeld(t, "")
}
