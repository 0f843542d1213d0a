package run

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/fairlead/fairlead/agent/diagnosis"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
)

const (
	areaContainers = "containers"
	repairHint     = "fairlead system check --repair"
)

// held is what the other services and this host have for containers, by owner.
type held struct {
	sandboxes map[string]*networkv1.Sandbox
	published map[string][]container.Binding
	named     []string
	mounted   []string
	bundles   []string
	files     []string
}

// Check compares the stored containers with their processes, mounts and files, and with what the other services have for them. With
// repair it completes interrupted changes, makes running containers follow their networks, and sweeps what no running container has.
func (r *Runner) Check(ctx context.Context, repair bool) []diagnosis.Finding {
	var out []diagnosis.Finding
	problem := func(name, format string, args ...any) {
		out = append(out, diagnosis.Finding{Area: areaContainers, Name: name, Severity: diagnosis.Problem, Text: fmt.Sprintf(format, args...), Hint: repairHint})
	}
	if repair {
		for what, do := range map[string]func(context.Context) error{"networks": r.syncAll, "names": r.tellAllNames, "sweep": r.Sweep} {
			if err := do(ctx); err != nil {
				problem("repair", "%s: %v", what, err)
			}
		}
	}
	h, err := r.held(ctx)
	if err != nil {
		problem("services", "cannot be compared: %v", err)
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
	return append(out, diagnosis.Finding{Area: areaContainers, Name: "containers", Text: fmt.Sprintf("%d as stored", agree)})
}

func (r *Runner) held(ctx context.Context) (*held, error) {
	ctx, cancel := withCallTimeout(ctx)
	defer cancel()
	h := &held{sandboxes: map[string]*networkv1.Sandbox{}}
	all, err := r.Sandboxes.ListSandboxes(ctx, &networkv1.ListSandboxesRequest{})
	if err != nil {
		return nil, err
	}
	for _, sb := range all.GetSandboxes() {
		h.sandboxes[sb.GetOwner()] = sb
	}
	if h.published, err = r.published(ctx); err != nil {
		return nil, err
	}
	for list, to := range map[*[]string]func(context.Context) ([]string, error){
		&h.named: r.nameOwners, &h.mounted: r.mounted, &h.bundles: r.bundles, &h.files: r.strayFiles,
	} {
		if *list, err = to(ctx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// differences is what of a container is otherwise than its record says. One that is being launched or is just ending has none.
func (r *Runner) differences(c *container.Container, h *held) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if c.Change != nil {
		add("a change of its networks or name is not complete")
	}
	life := r.lives.of(c.ID)
	if !c.IsRunning() {
		if life == nil && !r.joins.any(c.ID) {
			out = append(out, h.of(c.ID)...)
		}
		return out
	}
	if life == nil {
		add("it has no process")
	}
	if !slices.Contains(h.mounted, c.ID) {
		add("its root file system is not mounted")
	}
	if c.Live.SharedWith != "" {
		return out // network, ports and names are another container's
	}
	sb := h.sandboxes[c.ID]
	switch {
	case sb == nil:
		add("netagent has no sandbox for it")
	case sb.GetRenumberPending():
		add("it does not follow its networks")
	case !reflect.DeepEqual(c.Live.Endpoints, protoconv.Endpoints(sb.GetEndpoints())):
		add("its interfaces are others in netagent")
	}
	if !samePorts(c.Live.Bindings, h.published[c.ID]) {
		add("its published ports are others in natagent")
	}
	if !slices.Contains(h.named, c.ID) {
		add("dnsagent does not know it")
	}
	return out
}

// of is what is held for an owner.
func (h *held) of(uid string) (out []string) {
	if sb := h.sandboxes[uid]; sb != nil && !sb.GetNetnsOnly() {
		out = append(out, "it does not run, and has a sandbox in netagent")
	}
	if len(h.published[uid]) > 0 {
		out = append(out, "it does not run, and has published ports in natagent")
	}
	if slices.Contains(h.named, uid) {
		out = append(out, "it does not run, and has names in dnsagent")
	}
	if slices.Contains(h.mounted, uid) {
		out = append(out, "it does not run, and its root file system is mounted")
	}
	return out
}

// unknown is what is held for owners that are no containers.
func (h *held) unknown(known map[string]bool) (out []string) {
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
		if !known[uid] && id.Valid(uid) {
			out = append(out, "something is held for "+id.Short(uid)+", which is no container")
		}
	}
	slices.Sort(out)
	return out
}

// tellAllNames makes dnsagent know all running containers as they are stored.
func (r *Runner) tellAllNames(ctx context.Context) error {
	var last error
	for _, c := range r.Store.ListContainers() {
		if !c.IsRunning() || c.Live.SharedWith != "" {
			continue
		}
		now, unlock, err := r.findAndLock(ctx, c.ID)
		if err != nil {
			last = err
			continue
		}
		if now.IsRunning() {
			if err := r.updateNames(ctx, now, now.Live); err != nil {
				last = err
			}
		}
		unlock()
	}
	return last
}
