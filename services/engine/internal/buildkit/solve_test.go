package buildkit

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// exporter returns an exporter of a request.
func exporter(kind string) []byte {
	return wire.Message{}.WithText(exporterType, kind).WithEntry(exporterAttrs, "name", "app").Bytes()
}

func TestPlanReplacesDockersExporter(t *testing.T) {
	req := wire.Message{}.WithText(solveRef, "ref").WithText(solveOldExporter, "moby").WithText(solveSession, "s1").
		WithEntry(solveAttrs, "target", "x").WithEntry(solveAttrs, "attest:provenance", "mode=min").
		WithData(solveExporters, exporter("local")).WithData(solveExporters, exporter("moby")).WithText(99, "later")
	p := planOf(req)
	if !slices.Equal(p.load, []int{1}) || !p.local || p.checked || !p.needsSession() {
		t.Errorf("got %+v", p)
	}
	if p.request.Text(solveOldExporter) != "docker" || p.request.Text(solvePolicySession) != "s1" ||
		p.request.Text(99) != "later" || p.request.Text(solveRef) != "ref" {
		t.Errorf("got %v", p.request)
	}
	if d := cmp.Diff(map[string]string{"target": "x"}, p.request.Map(solveAttrs)); d != "" {
		t.Error(d)
	}
	all := p.request.Messages(solveExporters)
	if len(all) != 2 || all[0].Text(exporterType) != "local" || all[1].Text(exporterType) != "docker" {
		t.Fatalf("got exporters %v", all)
	}
	if d := cmp.Diff(map[string]string{"name": "app", "compression": "uncompressed"},
		all[1].Map(exporterAttrs)); d != "" {
		t.Error(d)
	}
}

func TestPlanOfOtherBuilds(t *testing.T) {
	pull := wire.Message{}.WithText(solveSession, "s1").WithEntry(solveAttrs, "image-resolve-mode", "pull").
		WithData(solveExporters, exporter("tar"))
	if p := planOf(pull); p.needsSession() || p.request.Text(solvePolicySession) != "" {
		t.Errorf("got %+v for --pull", p)
	}
	checked := wire.Message{}.WithText(solveSession, "s1").WithText(solvePolicySession, "s2").
		WithEntry(solveAttrs, "attest:sbom", "").WithData(solveExporters, exporter("oci"))
	p := planOf(checked)
	if !p.checked || p.request.Text(solvePolicySession) != "s2" || len(p.request.Map(solveAttrs)) != 1 {
		t.Errorf("got %+v for a build with a policy", p)
	}
	if p := planOf(wire.Message{}.WithText(solveOldExporter, "moby")); !slices.Equal(p.load, []int{0}) || p.local {
		t.Errorf("got %+v for an old client without a session", p)
	}
}

func TestPlatform(t *testing.T) {
	m := wire.Message{}.WithText(platformArch, "arm").WithText(platformOS, "linux").WithText(platformVariant, "v7")
	for want, m := range map[string]wire.Message{"linux/arm/v7": m, "linux/arm": m.Without(platformVariant),
		"": m.Without(platformOS)} {
		if got := platformOf(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDecisionThatAllows(t *testing.T) {
	denied := wire.Message{}.WithData(checkDecision, wire.Message{}.WithInt(decisionAction, 1).Bytes())
	question := wire.Message{}.WithData(2, nil)
	if !allows(allowed()) || allows(denied.Bytes()) || allows(question.Bytes()) || allows([]byte{0xff}) {
		t.Error("got a wrong decision")
	}
}
