package run

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
)

// sweepInterval is the interval of the sweep.
const sweepInterval = 30 * time.Second

// Sweeper releases what owners without a container have left in any service.
type Sweeper struct{ *Runner }

// NewSweeper returns the sweeper of a runner.
func NewSweeper(r *Runner) Sweeper { return Sweeper{r} }

// RunSweeper sweeps periodically until ctx is done.
func (r Sweeper) RunSweeper(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := r.Sweep(ctx); err != nil {
				r.Log.Warn("sweep failed, retrying", "error", err)
			}
		}
	}
}

// Sweep releases resources of owners without a running container.
// It also registers running containers that dnsagent has lost.
func (r Sweeper) Sweep(ctx context.Context) error {
	owners, err := r.owners(ctx)
	errs := []error{err}
	for uid := range owners {
		errs = append(errs, r.sweepOne(ctx, uid))
	}
	errs = append(errs, r.launcher.RepairNames(ctx), r.Volumes.RemoveMarked(ctx), r.launcher.ReleaseVolumes(ctx))
	return errors.Join(errs...)
}

// isBuildStep reports whether an owner is a build step, which has a sandbox only.
func (c Config) isBuildStep(uid string) bool { return c.BuildStep != nil && c.BuildStep(uid) }

func (r Sweeper) sweepOne(ctx context.Context, uid string) error {
	if r.lives.Of(uid) != nil || r.joins.Any(uid) || r.isBuildStep(uid) {
		return nil
	}

	unlock, err := r.lives.Lock(ctx, uid)
	if err != nil {
		return err
	}

	defer unlock()

	c, err := r.Store.GetContainer(uid)
	known := err == nil
	if r.lives.Of(uid) != nil || r.joins.Any(uid) || (known && c.IsRunning()) {
		return nil
	}

	if known && r.launcher.IsStarting(uid) {
		r.logFor(uid).Info("undoing interrupted start", "name", c.Config.Name)
	} else if running, err := r.runsUnknown(ctx, uid); running || err != nil {
		return err
	} else if external, err := r.isExternal(ctx, uid); external || err != nil {
		return err
	}

	r.logFor(uid).Info("releasing resources")
	if err = r.launcher.ReleaseAll(ctx, uid); err == nil {
		r.launcher.UnmarkStarting(uid)
	}

	if !known {
		err = errors.Join(err, r.launcher.RemoveUnknown(uid))
	}

	return err
}

// isExternal reports whether an owner is not a container, but a namespace of another program, which
// releases it itself.
func (r Sweeper) isExternal(ctx context.Context, uid string) (bool, error) {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()
	sb, err := r.Agents.Sandbox(ctx, uid)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return sb.External, err
}

// runsUnknown reports whether a process runs for an owner that is not stored as running. Its
// resources are kept.
func (r Sweeper) runsUnknown(ctx context.Context, uid string) (bool, error) {
	found, err := r.Processes.Adopt(ctx, uid)
	if err != nil || found.State != runtime.Alive {
		return false, err
	}
	if _, warned := r.foreign.LoadOrStore(uid, found.PID); !warned {
		r.logFor(uid).Warn("process without stored state, left running", "pid", found.PID)
	}
	return true, nil
}

// owners returns the owners of resources in all services and on this host, except external ones.
// The error names the sources that cannot be listed.
func (r Sweeper) owners(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := agents.WithTimeout(ctx)
	defer cancel()

	all := map[string]bool{}
	var errs []error
	for source, list := range map[string]func(context.Context) ([]string, error){
		"netagent": r.Agents.SandboxOwners, "natagent": r.publicationOwners, "policies": r.Agents.PolicyOwners,
		"dnsagent":     r.Agents.NameOwners,
		"reservations": r.strayReservations,
		"mounts":       r.mounted, "name files": r.nameMounts, "bundles": r.bundles, "files": r.strayFiles,
	} {
		found, err := list(ctx)
		if err != nil {
			errs = append(errs, fault.Wrap(err, fault.Unavailable, source, "cannot list owners"))
		}
		for _, uid := range found {
			if id.Valid(uid) {
				all[uid] = true
			}
		}
	}

	return all, errors.Join(append(errs, r.removeExternal(ctx, all))...)
}

// removeExternal removes the owners of external namespaces. If they cannot be listed, it removes all
// owners.
func (r Sweeper) removeExternal(ctx context.Context, owners map[string]bool) error {
	sandboxes, err := r.Agents.Sandboxes(ctx)
	if err != nil {
		clear(owners)
	}
	for _, sb := range sandboxes {
		if sb.External {
			delete(owners, sb.Owner)
		}
	}
	return err
}

func (r Sweeper) publicationOwners(ctx context.Context) ([]string, error) {
	published, err := r.Agents.Published(ctx)
	return slices.Collect(maps.Keys(published)), err
}

// strayReservations returns the owners of addresses without a stored container. A stopped container
// keeps its addresses.
func (r Sweeper) strayReservations(ctx context.Context) ([]string, error) {
	owners, err := r.Agents.ReservationOwners(ctx)
	return slices.DeleteFunc(owners, func(uid string) bool {
		_, err := r.Store.GetContainer(uid)
		return !fault.Is(err, fault.NotFound)
	}), err
}

func (r Sweeper) mounted(context.Context) ([]string, error) { return r.RootFS.Mounted() }

func (r Sweeper) nameMounts(context.Context) ([]string, error) { return r.NameFiles.Mounted() }

func (r Sweeper) bundles(context.Context) ([]string, error) { return r.Processes.IDs() }

// strayFiles returns the container directories without a stored container.
func (r Sweeper) strayFiles(context.Context) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.DataRoot, "containers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if _, err := r.Store.GetContainer(e.Name()); err != nil {
			out = append(out, e.Name())
		}
	}
	return out, err
}
