package run_test

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

var connectedHeld = []string{"bundle", "endpoint on n1", "endpoints", "mount", "names", "ports", "sandbox"}

var disconnectedHeld = []string{"bundle", "endpoints", "mount", "names", "ports", "sandbox"}

// syncUntilComplete runs the network sync until the container has no pending change.
func (h *host) syncUntilComplete(t *testing.T, name string) *container.Container {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.runner.RunNetworkSync(ctx)
	}()

	defer func() { cancel(); <-ended }()

	for end := time.Now().Add(testLimit); ; time.Sleep(time.Millisecond) {
		c, err := h.runner.Find(name)
		if err == nil && c.Change == nil {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("change still pending: got %+v, %v", c, err)
		}
	}
}

func onNetwork(c *container.Container, network string) bool {
	for _, a := range c.Config.Network.Attachments {
		if a.Network == network {
			return true
		}
	}
	return false
}

func TestDisconnectCompletesPendingDisconnect(t *testing.T) {
	h := newHost(t)
	req := request("web")
	c := h.mustRun(t, req)
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}

	h.storeChange(t, c.ID, &container.Change{Network: "n1"})

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Errorf("got %v, want no error", err)
	}

	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want not found", err)
	}
}

// A crash came before or after netagent changed the sandbox, and before the change was stored.
func TestInterruptedChangeIsCompleted(t *testing.T) {
	for name, done := range map[string]bool{"before netagent": false, "after netagent": true} {
		t.Run("connect "+name, func(t *testing.T) {
			h := newHost(t)
			c := h.mustRun(t, request("web"))
			h.storeChange(t, c.ID, &container.Change{Network: "n1", Connect: &container.Attachment{Network: "n1"}})
			if done {
				h.hold(c.ID, "endpoint on n1")
			}
			h.crash(t)
			if c := h.syncUntilComplete(t, "web"); !onNetwork(c, "n1") || len(c.Live.Endpoints) != 2 {
				t.Errorf("got %+v", c)
			}
			h.wantHeld(t, c.ID, connectedHeld...)
		})
		t.Run("disconnect "+name, func(t *testing.T) {
			h := newHost(t)
			c := h.mustRun(t, request("web"))
			if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
				t.Fatal(err)
			}
			h.storeChange(t, c.ID, &container.Change{Network: "n1"})
			if done {
				_ = h.drop(c.ID, "endpoint on n1")
			}
			h.crash(t)
			if c := h.syncUntilComplete(t, "web"); onNetwork(c, "n1") || len(c.Live.Endpoints) != 1 {
				t.Errorf("got %+v", c)
			}
			h.wantHeld(t, c.ID, disconnectedHeld...)
		})
	}
}

func (h *host) storeChange(t *testing.T, uid string, change *container.Change) {
	t.Helper()
	if _, err := h.store.UpdateContainer(uid,
		func(c *container.Container) *container.Container { return c.Changing(change) }); err != nil {
		t.Fatal(err)
	}
}

func TestConnectWithoutDiskIsUndone(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.onNamesUpdated = func() { _ = h.store.Close() }
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err == nil {
		t.Error("connected without a store")
	}
	h.wantHeld(t, c.ID, disconnectedHeld...)
}

func TestConnectIsUndoneWhenNetagentIsBack(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.fail = "update names"
	h.down("endpoint on n1", true)
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err == nil {
		t.Error("connected without names")
	}

	h.wantHeld(t, c.ID, connectedHeld...)
	h.fail = ""
	h.down("endpoint on n1", false)
	if c := h.syncUntilComplete(t, "web"); onNetwork(c, "n1") {
		t.Errorf("got %+v", c)
	}

	h.wantHeld(t, c.ID, disconnectedHeld...)
}

func TestDisconnectDoesNotWaitForNames(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}

	h.fail = "update names"
	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, c.ID, disconnectedHeld...)
	now, err := h.runner.Find("web")
	if err != nil || onNetwork(now, "n1") || now.Change == nil {
		t.Errorf("got %+v, %v", now, err)
	}

	h.fail = ""
	updates := len(h.known)
	h.syncUntilComplete(t, "web")
	if len(h.known) == updates {
		t.Error("names were not updated later")
	}
}

// Ports are forwarded to the remaining network, although natagent was unavailable at first.
func TestDisconnectUpdatesPortsLater(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	if err := h.runner.ConnectNetwork(t.Context(), "web", container.Attachment{Network: "n1"}); err != nil {
		t.Fatal(err)
	}

	h.set(func() { h.fail = "publish ports" })
	if err := h.runner.DisconnectNetwork(t.Context(), "web", "n1"); err != nil {
		t.Fatal(err)
	}

	h.set(func() { h.fail, h.forwardedTo = "", nil })
	h.syncUntilComplete(t, "web")
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.forwardedTo) == 0 || h.forwardedTo[len(h.forwardedTo)-1] != "172.17.0.2" {
		t.Errorf("got ports forwarded to %v, want 172.17.0.2", h.forwardedTo)
	}
}

func TestPublishWithoutDiskIsUndone(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	more := port.Mapping{Protocol: port.TCP, Host: port.Single(9000), Container: port.Single(90)}
	h.onPublished = func() { _ = h.store.Close() }
	if _, _, err := h.runner.PublishPorts(t.Context(), "web", []port.Mapping{more}, nil); err == nil {
		t.Error("published without a store")
	}
	if len(h.published) != 1 || h.published[0].GetHostPort() != 8080 {
		t.Errorf("%s: got published %v", c.Config.Name, h.published)
	}
}
