package reconcile

import (
	"context"
	"fmt"

	"github.com/fairlead/fairlead/agent/diagnosis"
)

const (
	area       = "firewall"
	repairHint = "fairlead system check --repair"
)

// Check compares the stored publications and networks with the firewall's rules. With repair it
// reconciles first.
func (r *Reconciler) Check(ctx context.Context, repair bool) []diagnosis.Finding {
	out := []diagnosis.Finding{}
	problem := func(name, format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: area, Name: name, Severity: diagnosis.Problem,
			Text: fmt.Sprintf(format, args...), Hint: repairHint})
	}

	end, err := r.Lock(ctx)
	if err != nil {
		problem("rules", "cannot be compared: %v", err)
		return out
	}
	defer end()
	if repair {
		if err := r.Repair(ctx); err != nil {
			problem("repair", "%v", err)
		}
	}

	want := r.store.State()
	change, err := r.firewall.Compare(ctx, want)
	if err != nil {
		problem("rules", "cannot be compared: %v", err)
		return out
	}

	if change.Rebuilt {
		problem("rules", "differ from the stored state")
	}
	if change.Added > 0 {
		problem("elements", "%d of published ports and networks are missing", change.Added)
	}

	for _, b := range change.Removed {
		problem("elements", "%s %s:%d is forwarded without a publication", b.Protocol, b.HostIP, b.Host.First)
	}

	if len(out) == 0 {
		out = append(out, diagnosis.Finding{Area: area, Name: "rules",
			Text: fmt.Sprintf("%d bindings and %d networks as stored", len(want.Bindings), len(want.Networks))})
	}

	return out
}
