package run_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
)

// onPort returns a request for a container that publishes a port.
func onPort(name string, number uint16) launch.Request {
	req := request(name)
	req.Config.Network.Publish[0].Host = port.Single(number)
	return req
}

func TestFirewallWarningsAtEachStart(t *testing.T) {
	h := newHost(t)
	closed := []string{"port 9000 is closed"}
	launched, err := h.runner.Run(t.Context(), onPort("web", 9000))
	if err != nil || !slices.Equal(launched.Warnings(t.Context()), closed) {
		t.Errorf("run: %q, %v", launched.Warnings(t.Context()), err)
	}

	if launched, err = h.runner.Restart(t.Context(), "web", nil, ""); err != nil ||
		!slices.Equal(launched.Warnings(t.Context()), closed) {
		t.Errorf("restart: %q, %v", launched.Warnings(t.Context()), err)
	}

	if launched, err = h.runner.Start(t.Context(), "web", false, 0, 0); err != nil ||
		len(launched.Warnings(t.Context())) != 0 {
		t.Errorf("start of a running container: got %q, %v", launched.Warnings(t.Context()), err)
	}

	h.end(t, launched.Container)
	if launched, err = h.runner.Start(t.Context(), "web", false, 0, 0); err != nil ||
		!slices.Equal(launched.Warnings(t.Context()), closed) {
		t.Errorf("start: %q, %v", launched.Warnings(t.Context()), err)
	}

	if launched, err = h.runner.Run(t.Context(), request("open")); err != nil ||
		len(launched.Warnings(t.Context())) != 0 {
		t.Errorf("open port: got %q, %v", launched.Warnings(t.Context()), err)
	}

	h.fail = "check firewall"
	if launched, err = h.runner.Run(t.Context(), onPort("unasked", 8081)); err != nil ||
		len(launched.Warnings(t.Context())) != 0 {
		t.Errorf("failed check: got %q, %v", launched.Warnings(t.Context()), err)
	}
}

func TestInternalNetworkPortsWarn(t *testing.T) {
	h := newHost(t)
	on := func(name string, networks ...string) launch.Request {
		req := request(name)
		req.Config.Network.Mode = ""
		for _, n := range networks {
			req.Config.Network.Attachments = append(req.Config.Network.Attachments, container.Attachment{Network: n})
		}
		return req
	}

	wants := func(what string, launched *launch.Launched, err error, want bool) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w := strings.Join(launched.Warnings(t.Context()), "\n")
		if strings.Contains(w, "its ports are not published, as its networks are internal") != want {
			t.Errorf("%s: got %q", what, w)
		}
	}

	launched, err := h.runner.Create(t.Context(), on("later", "inside"))
	wants("create", launched, err, true)
	launched, err = h.runner.Start(t.Context(), "later", false, 0, 0)
	wants("start", launched, err, true)
	launched, err = h.runner.Run(t.Context(), on("now", "inside"))
	wants("run", launched, err, true)
	launched, err = h.runner.Create(t.Context(), on("open", "inside", "n1"))
	wants("another network, too", launched, err, false)
	launched, err = h.runner.Create(t.Context(), request("default"))
	wants("the default network", launched, err, false)
	silent := on("silent", "inside")
	silent.Config.Network.Publish = nil
	launched, err = h.runner.Create(t.Context(), silent)
	wants("nothing to publish", launched, err, false)
}

func TestWarningsDoNotWaitAfterDisconnect(t *testing.T) {
	h := newHost(t)
	h.slow = make(chan struct{})
	defer close(h.slow)
	launched, err := h.runner.Run(t.Context(), onPort("web", 9000))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w := launched.Warnings(ctx); len(w) != 0 {
		t.Errorf("got warnings %q", w)
	}
}
