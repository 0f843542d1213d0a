package egress

import (
	"testing"

	"github.com/google/nftables/expr"
)

// TestCheckedPacketsNeverPassUnqueued checks that packets which no rule of the chain matches do not reach the
// end of the base chain, which accepts.
func TestCheckedPacketsNeverPassUnqueued(t *testing.T) {
	rules := checkedRules(nativeQueue)
	last := rules[len(rules)-1].exprs
	v, ok := last[len(last)-1].(*expr.Verdict)
	if !ok || v.Kind != expr.VerdictDrop || len(last) != len(drop()) {
		t.Errorf("the last rule is not an unconditional drop: %+v", last)
	}
}
