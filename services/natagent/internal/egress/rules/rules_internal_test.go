package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// TestNamesThatRefuseQUICComeLast checks that a rule which refuses QUIC does not hide one that allows it,
// in whichever order they are written.
func TestNamesThatRefuseQUICComeLast(t *testing.T) {
	const want = "c.test/any-name a.test:443/udp a.test quic a.test quic a.test" // quic a.test: of IPv4 and IPv6
	for _, text := range []string{"a.test,a.test:443/udp,c.test/any-name", "c.test/any-name,a.test:443/udp,a.test"} {
		p, err := egress.Parse([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range (&chainBuilder{owner: strings.Repeat("a", 64)}).build(p,
			plan.New(&plan.Container{Rules: []string{text}}, nil).Groups) {
			if strings.HasPrefix(r.Comment, "QUIC") {
				r.Comment = "quic"
			}
			if r.Comment == "quic" || strings.Contains(r.Comment, ".test") {
				got = append(got, r.Comment)
			}
		}
		if all := strings.Join(slices.Compact(got), " "); all != want {
			t.Errorf("%s: got %s, want %s", text, all, want)
		}
	}
}

// TestCheckedPacketsNeverPassUnqueued checks that packets which no rule of the chain matches do not reach the
// end of the base chain, which accepts.
func TestCheckedPacketsNeverPassUnqueued(t *testing.T) {
	rules := checkedRules(nativeQueue)
	last := rules[len(rules)-1].Exprs
	v, ok := last[len(last)-1].(*expr.Verdict)
	if !ok || v.Kind != expr.VerdictDrop || len(last) != len(drop()) {
		t.Errorf("the last rule is not an unconditional drop: %+v", last)
	}
}
