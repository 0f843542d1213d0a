package run_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestRenameUpdatesAllServices(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.Rename(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}

	if got, err := h.runner.Find("shop"); err != nil || got.ID != c.ID {
		t.Errorf("shop: got %v, %v", got, err)
	}

	if _, err := h.runner.Find("web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("web: got %v", err)
	}

	if got := h.asked[len(h.asked)-1].GetOwnerName(); got != "shop" {
		t.Errorf("netagent: got name %s, want shop", got)
	}

	h.mustRun(t, request("web")) // the old name is free
}

func TestFailedRenameKeepsOldName(t *testing.T) {
	for _, step := range []string{"update names", "join network", "publish ports"} {
		h := newHost(t)
		c := h.mustRun(t, request("web"))
		h.fail = step
		if err := h.runner.Rename(t.Context(), "web", "shop"); err == nil {
			t.Errorf("%s: got no error", step)
		}
		h.fail = ""
		if got, err := h.runner.Find("web"); err != nil || got.ID != c.ID {
			t.Errorf("%s: web: got %v, %v", step, got, err)
		}
		if _, err := h.runner.Find("shop"); err == nil {
			t.Errorf("%s: shop exists", step)
		}
		if err := h.runner.Rename(t.Context(), "web", "shop"); err != nil {
			t.Errorf("second rename: got %v", err)
		}
	}
}

func TestRenameRejectsUnavailableNames(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	h.mustRun(t, request("shop"))
	for name, kind := range map[string]fault.Kind{"shop": fault.Exists, "web": fault.Invalid, "a/b": fault.Invalid,
		"": fault.Invalid} {
		if err := h.runner.Rename(t.Context(), "web", name); !fault.Is(err, kind) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if err := h.runner.Rename(t.Context(), "nosuch", "other"); !fault.Is(err, fault.NotFound) {
		t.Errorf("nosuch: got %v", err)
	}
}

func TestDropSharersDetachesJoinedContainers(t *testing.T) {
	h := newHost(t)
	req := request("own")
	req.Config.Network.DropSharers = true
	owner := h.mustRun(t, req)
	joiner := h.mustRun(t, joining("mid", "own"))
	h.end(t, owner)
	h.wantHeld(t, owner.ID)
	left, err := h.runner.Find("mid")
	if err != nil || left.Status != container.Running || left.Live.NetnsPath != "/proc/42/ns/net" ||
		left.Live.SharedWith != "" {
		t.Fatalf("detached: got %+v, %v", left, err)
	}

	third := h.mustRun(t, joining("end", "mid"))
	if third.Live.NetnsPath != left.Live.NetnsPath || third.Live.SharedWith != joiner.ID {
		t.Errorf("joined: got %+v", third.Live)
	}

	if _, err := h.runner.Start(t.Context(), "own", false, 0, 0); err != nil {
		t.Fatal(err)
	}

	h.end(t, third)
	h.end(t, joiner)
	h.wantHeld(t, owner.ID, "bundle", "endpoints", "mount", "names", "ports", "sandbox")
	h.end(t, owner)
	h.wantHeld(t, "")
}
