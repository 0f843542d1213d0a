package run_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/diagnosis"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

func problems(all []diagnosis.Finding) string {
	var out []string
	for _, f := range all {
		if f.Severity == diagnosis.Problem {
			out = append(out, f.Name+": "+f.Text)
		}
	}
	return strings.Join(out, "; ")
}

func TestCheckFindsDifferences(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.published = []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostPort: 8080, ContainerPort: 80}}
	if got := problems(run.NewChecker(h.runner).Check(t.Context(), false)); got != "" {
		t.Fatalf("without a difference: %s", got)
	}

	stray := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		spoil, repair func()
		want          string
	}{
		"no names": {func() { _ = h.drop(c.ID, "names") }, func() { h.hold(c.ID, "names") },
			"web: names are missing in dnsagent"},
		"no sandbox": {func() { _ = h.drop(c.ID, "sandbox") }, func() { h.hold(c.ID, "sandbox") },
			"web: sandbox is missing in netagent"},
		"no mount": {func() { _ = h.drop(c.ID, "mount") }, func() { h.hold(c.ID, "mount") },
			"web: rootfs is not mounted"},
		"other endpoints": {func() { h.hold(c.ID, "endpoint on n1") }, func() { _ = h.drop(c.ID, "endpoint on n1") },
			"web: endpoints differ from netagent"},
		"stray": {func() { h.hold(stray, "sandbox") }, func() { _ = h.drop(stray, "sandbox") },
			"unknown: resources exist for abababababab, which is not a stored container"},
		"half done": {func() { h.storeChange(t, c.ID, &container.Change{Network: "n1"}) },
			func() { h.storeChange(t, c.ID, nil) },
			"web: a change of its networks or name is incomplete"},
		"away": {func() { h.published = nil }, func() {}, "web: published ports differ from natagent"},
	} {
		was := h.published
		c.spoil()
		if got := problems(run.NewChecker(h.runner).Check(t.Context(), false)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		c.repair()
		h.published = was
	}
}

func TestCheckRepairs(t *testing.T) {
	h := newHost(t)
	c := h.mustRun(t, request("web"))
	h.hold(strings.Repeat("ab", 32), "sandbox")
	h.storeChange(t, c.ID, &container.Change{Network: "n1", Connect: &container.Attachment{Network: "n1"}})
	if got := problems(run.NewChecker(h.runner).Check(t.Context(), true)); got != "" {
		t.Errorf("after the repair: %s", got)
	}
	h.wantHeld(t, c.ID, connectedHeld...)
	h.wantHeld(t, strings.Repeat("ab", 32))
}
