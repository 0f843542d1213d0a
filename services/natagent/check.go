package natagent

import (
	"context"
	"fmt"

	"github.com/fairlead/fairlead/agent/diagnosis"
)

const (
	areaFirewall = "firewall"
	repairHint   = "fairlead system check --repair"
)

// check compares the stored publications and networks with the firewall's rules. With repair it
// reconciles first.
func (s *Service) check(ctx context.Context, repair bool) []diagnosis.Finding {
	out := []diagnosis.Finding{}
	problem := func(name, format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: areaFirewall, Name: name, Severity: diagnosis.Problem,
			Text: fmt.Sprintf(format, args...), Hint: repairHint})
	}

	end, err := s.reconciler.Lock(ctx)
	if err != nil {
		problem("rules", "cannot be compared: %v", err)
		return out
	}
	defer end()
	if repair {
		if err := s.reconciler.Repair(ctx); err != nil {
			problem("repair", "%v", err)
		}
	}

	want := s.store.State()
	change, err := s.firewall.Compare(ctx, want)
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
		out = append(out, diagnosis.Finding{Area: areaFirewall, Name: "rules",
			Text: fmt.Sprintf("%d bindings and %d networks as stored", len(want.Bindings), len(want.Networks))})
	}

	return out
}
