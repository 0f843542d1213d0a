package run_test

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestARenamedContainerIsFoundByItsNewNameAndKnownByItEverywhere(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	if err := h.runner.Rename(t.Context(), "web", "shop"); err != nil {
		t.Fatal(err)
	}

	if got, err := h.runner.Find("shop"); err != nil || got.ID != c.ID {
		t.Errorf("shop is %v, %v", got, err)
	}

	if _, err := h.runner.Find("web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("web: %v", err)
	}

	if got := h.asked[len(h.asked)-1].GetOwnerName(); got != "shop" {
		t.Errorf("netagent knows it as %s", got)
	}

	h.mustRun(t, request("web")) // the name is free
}

func TestARenameThatFailsLeavesTheOldName(t *testing.T) {
	for _, step := range []string{"update names", "join network", "publish ports"} {
		h := newHost(t)
		c := h.mustRun(t, request("web"))
		h.fail = step
		if err := h.runner.Rename(t.Context(), "web", "shop"); err == nil {
			t.Errorf("%s failed, and the rename did not", step)
		}
		h.fail = ""
		if got, err := h.runner.Find("web"); err != nil || got.ID != c.ID {
			t.Errorf("%s failed: web is %v, %v", step, got, err)
		}
		if _, err := h.runner.Find("shop"); err == nil {
			t.Errorf("%s failed: shop is there", step)
		}
		if err := h.runner.Rename(t.Context(), "web", "shop"); err != nil {
			t.Errorf("and again: %v", err)
		}
	}
}

func TestNamesThatCannotBeHadAreRefused(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, request("web"))
	h.mustRun(t, request("shop"))
	for name, kind := range map[string]fault.Kind{"shop": fault.Exists, "web": fault.Invalid, "a/b": fault.Invalid,
		"": fault.Invalid} {
		if err := h.runner.Rename(t.Context(), "web", name); !fault.Is(err, kind) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := h.runner.Rename(t.Context(), "nosuch", "other"); !fault.Is(err, fault.NotFound) {
		t.Errorf("nosuch: %v", err)
	}
}

func TestAnOwnerThatKeepsNothingLeavesTheOthersBehindWhereTheyAre(t *testing.T) {
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
		t.Fatalf("left behind: %+v, %v", left, err)
	}

	third := h.mustRun(t, joining("end", "mid"))
	if third.Live.NetnsPath != left.Live.NetnsPath || third.Live.SharedWith != joiner.ID {
		t.Errorf("joined as %+v", third.Live)
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
