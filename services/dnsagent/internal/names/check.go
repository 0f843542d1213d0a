package names

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
	"github.com/fairlead/fairlead/services/dnsagent/internal/store"
)

const areaNames = "names"

// Check compares the stored registrations with name files and resolvers. With repair it first
// writes missing files and starts missing resolvers.
func (n *Names) Check(ctx context.Context, repair bool) []diagnosis.Finding {
	var out []diagnosis.Finding
	problem := func(owner, format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: areaNames, Name: id.Short(owner),
			Severity: diagnosis.Problem, Text: fmt.Sprintf(format, args...),
			Hint: "fairlead system check --repair"})
	}

	matching := 0
	for _, r := range n.store.Registrations() {
		if repair {
			if err := n.repair(ctx, r); err != nil {
				problem(r.Owner, "cannot be repaired: %v", err)
			}
		}
		differences := n.differences(r)
		for _, text := range differences {
			problem(r.Owner, "%s", text)
		}
		if len(differences) == 0 {
			matching++
		}
	}

	out = append(out, n.stale()...)
	return append(out, diagnosis.Finding{Area: areaNames, Name: "registrations",
		Text: fmt.Sprintf("%d as stored", matching)})
}

func (n *Names) differences(r *store.Registration) (out []string) {
	paths := n.files.Paths(r.Owner)
	for _, path := range []string{paths.Hostname, paths.Hosts, paths.ResolvConf} {
		if _, err := os.Lstat(path); err != nil {
			out = append(out, "the file "+path+" is missing")
		}
	}
	if r.Source == registration.Resolver && !n.resolvers.Serves(r.Owner) {
		out = append(out, "its resolver does not run")
	}
	return out
}

func (n *Names) repair(ctx context.Context, r *store.Registration) error {
	if len(n.differences(r)) == 0 {
		return nil
	}

	unlock, err := n.owners.LockContext(ctx, r.Owner)
	if err != nil {
		return err
	}

	defer unlock()

	now, ok := n.store.Registration(r.Owner)
	if !ok {
		return nil // released in the meantime
	}
	if err := n.restore(now); err != nil {
		return err
	}

	n.publishNames(now)
	if now.Source == registration.Resolver && !n.resolvers.Serves(r.Owner) {
		on, err := n.resolvers.Open(ctx, r.Owner)
		if err != nil {
			return err
		}
		n.resolvers.Serve(r.Owner, on)
	}

	return nil
}

// stale returns findings for files without a registration.
func (n *Names) stale() (out []diagnosis.Finding) {
	present, err := n.files.Owners()
	if err != nil {
		return []diagnosis.Finding{{Area: areaNames, Name: "files", Severity: diagnosis.Problem, Text: err.Error()}}
	}

	for _, owner := range present {
		known := slices.ContainsFunc(n.store.Registrations(),
			func(r *store.Registration) bool { return r.Owner == owner })
		if !known {
			out = append(out, diagnosis.Finding{Area: areaNames, Name: id.Short(owner), Severity: diagnosis.Problem,
				Text: "has name files and is not registered", Hint: "restart the agent to remove them"})
		}
	}

	return out
}
