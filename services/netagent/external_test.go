package netagent

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
)

// external returns a request for the namespace at a path.
func external(owner, path string) endpoint.Request {
	req := onBridge(owner)
	req.External = path
	return req
}

// links returns the interfaces of a namespace.
func (h *host) linksOf(path string) string {
	h.t.Helper()
	return h.ns.Run("nsenter", "--net="+path, "ip", "-o", "link")
}

func TestExternalNamespaceIsKept(t *testing.T) {
	h := newHost(t)
	a := h.run()
	pod := testns.New(t)
	sb := a.create(external(id.New(), pod.Path()))
	h.mustReach(h.ns.Path(), h.address(sb))
	h.mustReach(pod.Path(), "127.0.0.1")
	if again := a.create(external(sb.Owner, pod.Path())); again.Endpoints[0].ID != sb.Endpoints[0].ID {
		t.Error("the sandbox was recreated")
	}
	if _, err := a.sandboxes.Create(context.Background(), external(sb.Owner, testns.New(t).Path())); !fault.Is(err,
		fault.Exists) {
		t.Errorf("another namespace: got %v", err)
	}
	if differences, err := a.sandboxes.Compare(sb.Owner); err != nil || len(differences) > 0 {
		t.Errorf("got %q, %v", differences, err)
	}

	// The agent restarts, even without the path of the client.
	a.stop()
	b := h.run()
	h.mustReach(pod.Path(), "172.17.0.1")
	b.release(sb)
	b.release(sb)
	if got := h.linksOf(pod.Path()); strings.Contains(got, "eth0") {
		t.Errorf("got interfaces %s", got)
	}
	if links := h.ns.Run("ip", "-o", "link"); strings.Contains(links, "veth") || len(h.pins()) > 0 {
		t.Errorf("left: %s, %q", links, h.pins())
	}
	if got := h.address(b.container()); got != "172.17.0.2" {
		t.Errorf("got address %s after the release", got)
	}
}

func TestFailedExternalSandboxLeavesNothing(t *testing.T) {
	h := newHost(t)
	a := h.run()
	pod := testns.New(t)
	pod.Run("ip", "link", "add", "taken", "type", "veth", "peer", "name", "other")
	taken := external(id.New(), pod.Path())
	taken.Endpoints[0].Interface = "taken"
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}

	before := h.linksOf(pod.Path())
	for name, c := range map[string]struct {
		req  endpoint.Request
		want string
	}{
		"name of another interface": {taken, "file exists"},
		"host":                      {external(id.New(), "/proc/thread-self/ns/net"), "network namespace of the host"},
		"missing":                   {external(id.New(), "/nosuch"), "no such file"},
		"file":                      {external(id.New(), "/etc/passwd"), "not a network namespace"},
		"FIFO":                      {external(id.New(), fifo), "not a network namespace"},
		"other kind":                {external(id.New(), "/proc/self/ns/uts"), "not a network namespace"},
	} {
		_, err := a.sandboxes.Create(context.Background(), c.req)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if after := h.linksOf(pod.Path()); after != before || len(h.pins()) > 0 || len(a.sandboxes.List()) > 0 {
		t.Errorf("left: %s, pins %q", after, h.pins())
	}
	if links := h.ns.Run("ip", "-o", "link"); strings.Contains(links, "veth") {
		t.Errorf("left: %s", links)
	}
}

// TestLostPinOfExternalNamespaceIsRestored: the namespace and its client still exist.
func TestLostPinOfExternalNamespaceIsRestored(t *testing.T) {
	h := newHost(t)
	a := h.run()
	pod := testns.New(t)
	req := external(id.New(), pod.Path())
	sb := a.create(req)
	lose := func() {
		t.Helper()
		if err := kernel.Unpin(sb.NetnsPath); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(a *agent) {
		t.Helper()
		h.mustReach(pod.Path(), "172.17.0.1")
		if differences, err := a.sandboxes.Compare(sb.Owner); err != nil || len(differences) > 0 {
			t.Errorf("got %q, %v", differences, err)
		}
		if pins := h.pins(); len(pins) != 1 {
			t.Errorf("got pins %q", pins)
		}
	}
	a.stop()
	lose()
	b := h.run()
	kept(b)
	lose()
	if again := b.create(req); again.Endpoints[0].ID != sb.Endpoints[0].ID {
		t.Error("the sandbox was recreated")
	}
	kept(b)
	lose()
	b.release(sb)
	if got := h.linksOf(pod.Path()); strings.Contains(got, "eth0") || len(h.pins()) > 0 {
		t.Errorf("left: %s, pins %q", got, h.pins())
	}
}

// TestLostExternalNamespaceIsForgotten: a host has started again, and its client uses the path for another namespace
// or not at all.
func TestLostExternalNamespaceIsForgotten(t *testing.T) {
	for _, again := range []bool{false, true} {
		h := newHost(t)
		a := h.run()
		path := filepath.Join(t.TempDir(), "pod")
		adopt := func() {
			t.Helper()
			if err := (namespace.Host{}).Adopt(testns.New(t).Path(), path, nil); err != nil {
				t.Fatal(err)
			}
		}
		adopt()
		t.Cleanup(func() { _ = kernel.Unpin(path) })
		req := external(id.New(), path)
		n := a.newNetwork("lan")
		req.Endpoints = []endpoint.Spec{{Network: n.Name, IPv4: n.Spec.Pools[0].Gateway.Next().Next()}}
		sb := a.create(req)
		a.stop()
		if err := errors.Join(kernel.Unpin(sb.NetnsPath), kernel.Unpin(path)); err != nil {
			t.Fatal(err)
		}
		if again {
			adopt()
		}

		b := h.run()
		owners := b.sandboxes.ReservationOwners()
		if slices.Contains(owners, sb.Owner) || len(b.sandboxes.List()) > 0 || len(h.pins()) > 0 {
			t.Errorf("another namespace %t: got %q, %v, %q", again, owners, b.sandboxes.List(), h.pins())
		}
		req.Owner, req.External = id.New(), testns.New(t).Path()
		b.create(req) // with the same address
	}
}
