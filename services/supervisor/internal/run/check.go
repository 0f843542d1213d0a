package run

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
)

const (
	areaContainers = "containers"
	repairHint     = "fairlead system check --repair"
)

// actual holds the resources that exist for containers in other services and on this host, by
// owner.
type actual struct {
	sandboxes map[string]agents.Sandbox
	published map[string][]port.Binding
	named     []string
	mounted   []string
	bundles   []string
	files     []string
}

// Checker compares the stored containers with their processes, mounts and files.
type Checker struct{ *Runner }

// NewChecker returns the checker of a runner.
func NewChecker(r *Runner) Checker { return Checker{r} }

// Check compares the stored containers with processes, mounts, files and the other services.
// With repair it first completes interrupted changes, synchronizes running containers with their
// networks, and sweeps.
func (r Checker) Check(ctx context.Context, repair bool) []diagnosis.Finding {
	var out []diagnosis.Finding
	problem := func(name, format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: areaContainers, Name: name, Severity: diagnosis.Problem,
			Text: fmt.Sprintf(format, args...), Hint: repairHint})
	}

	if repair {
		for what, do := range map[string]func(context.Context) error{"networks": r.SyncAll, "names": r.UpdateAllNames,
			"sweep": NewSweeper(r.Runner).Sweep} {
			if err := do(ctx); err != nil {
				problem("repair", "%s: %v", what, err)
			}
		}
	}

	h, err := r.actual(ctx)
	if err != nil {
		problem("services", "cannot list resources: %v", err)
		return out
	}

	agree, known := 0, map[string]bool{}
	for _, c := range r.Store.ListContainers() {
		known[c.ID] = true
		differences := r.differences(c, h)
		for _, text := range differences {
			problem(c.Config.Name, "%s", text)
		}
		if len(differences) == 0 {
			agree++
		}
	}

	for _, text := range h.unknown(known) {
		problem("unknown", "%s", text)
	}

	return append(out, diagnosis.Finding{Area: areaContainers, Name: "containers",
		Text: fmt.Sprintf("%d as stored", agree)})
}

func (r Checker) actual(ctx context.Context) (*actual, error) {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()

	h := &actual{sandboxes: map[string]agents.Sandbox{}}
	all, err := r.Agents.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}

	for _, sb := range all {
		if !r.isBuildStep(sb.Owner) {
			h.sandboxes[sb.Owner] = sb
		}
	}

	if h.published, err = r.Agents.Published(ctx); err != nil {
		return nil, err
	}

	sweeper := NewSweeper(r.Runner)
	for list, to := range map[*[]string]func(context.Context) ([]string, error){
		&h.named: r.Agents.NameOwners, &h.mounted: sweeper.mounted, &h.bundles: sweeper.bundles,
		&h.files: sweeper.strayFiles,
	} {
		if *list, err = to(ctx); err != nil {
			return nil, err
		}
	}

	return h, nil
}

// differences returns the differences between a container and its record. It returns none during a
// launch or an exit.
func (r Checker) differences(c *container.Container, h *actual) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if c.Change != nil {
		add("a change of its networks or name is incomplete")
	}

	life := r.lives.Of(c.ID)
	if !c.IsRunning() {
		if life == nil && !r.joins.Any(c.ID) {
			out = append(out, h.of(c.ID)...)
		}
		return out
	}

	if life == nil {
		add("process does not exist")
	}

	if !slices.Contains(h.mounted, c.ID) {
		add("rootfs is not mounted")
	}

	if c.Live.SharedWith != "" {
		return out // the owner of the namespace has the network, ports and names
	}

	sb, exists := h.sandboxes[c.ID]
	switch {
	case !exists:
		add("sandbox is missing in netagent")
	case sb.RenumberPending:
		add("renumbering is pending")
	case !reflect.DeepEqual(c.Live.Endpoints, sb.Endpoints):
		add("endpoints differ from netagent")
	}

	if !follow.SamePorts(c.Live.Bindings, h.published[c.ID]) {
		add("published ports differ from natagent")
	}

	if !slices.Contains(h.named, c.ID) {
		add("names are missing in dnsagent")
	}

	return out
}

// of returns the resources of an owner that is not running.
func (h *actual) of(uid string) (out []string) {
	if sb, exists := h.sandboxes[uid]; exists && !sb.NamespaceOnly {
		out = append(out, "not running, but has a sandbox in netagent")
	}

	if len(h.published[uid]) > 0 {
		out = append(out, "not running, but has published ports in natagent")
	}

	if slices.Contains(h.named, uid) {
		out = append(out, "not running, but has names in dnsagent")
	}

	if slices.Contains(h.mounted, uid) {
		out = append(out, "not running, but its rootfs is mounted")
	}

	return out
}

// unknown returns the resources of owners that are not stored containers.
func (h *actual) unknown(known map[string]bool) (out []string) {
	seen := map[string]bool{}
	for uid := range h.sandboxes {
		seen[uid] = true
	}

	for uid := range h.published {
		seen[uid] = true
	}

	for _, uid := range slices.Concat(h.named, h.mounted, h.bundles, h.files) {
		seen[uid] = true
	}

	for uid := range seen {
		if !known[uid] && !h.sandboxes[uid].External && id.Valid(uid) {
			out = append(out, "resources exist for "+id.Short(uid)+", which is not a stored container")
		}
	}

	slices.Sort(out)
	return out
}
