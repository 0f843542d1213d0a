package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Leave takes this host out of its fleet. Without force, it fails if no manager can be reached, or if
// other hosts depend on this manager.
func (f *Fleet) Leave(ctx context.Context, force bool) error {
	f.change.Lock()
	defer f.change.Unlock()
	p, err := f.current()
	if err != nil {
		return err
	}
	if p.m.IsManager() {
		if others := p.others(); others > 0 && !force {
			return fault.New(fault.Conflict, "host "+p.m.Name,
				fmt.Sprintf("is the only manager, and %d more hosts are part of the fleet", others),
				fault.WithHint("let them leave first, or end the fleet: fairlead fleet leave --force"))
		}
	} else if err := p.dismissSelf(ctx); err != nil && !force {
		return err
	}

	f.end()
	p.dropReplica()
	if p.m.IsManager() {
		if err := f.store().Remove(context.WithoutCancel(ctx)); err != nil {
			return errors.Join(err, f.begin(p.m, false))
		}
	}
	return membership.Remove(f.cfg.Dir)
}

// others returns the number of other hosts.
func (p *part) others() int {
	n := 0
	p.mirror.Read(func(v *view.View) {
		for id := range v.Hosts() {
			if id != p.m.Host {
				n++
			}
		}
	})
	return n
}

// dismissSelf asks a manager to remove this host. A host that was removed meanwhile is content.
func (p *part) dismissSelf(ctx context.Context) error {
	var all error
	for _, address := range p.managers() {
		manager, err := api.DialManager(address, pki.ClientConfig(p.m.CA, p.certificate, "", p.cfg.Now))
		if err == nil {
			err = errors.Join(manager.Leave(ctx), manager.Close())
		}
		if err == nil {
			return nil
		}
		all = errors.Join(all, err)
	}
	if all == nil {
		all = fault.New(fault.Unavailable, "managers", "are not known yet")
	}
	return fault.New(fault.Unavailable, "fleet", "does not know that this host leaves: no manager answered",
		fault.WithCause(all),
		fault.WithHint("leave anyway with --force, and remove the host on a manager: fairlead fleet rm %s", p.m.Name))
}

// RemoveHost removes another host. A host that is alive is removed with force only.
func (f *Fleet) RemoveHost(ctx context.Context, reference string, force bool) (*fleetv1.Host, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	a, err := p.admission()
	if err != nil {
		return nil, err
	}
	host, err := p.find(reference)
	switch {
	case err != nil:
		return nil, err
	case host.GetId() == p.m.Host:
		return nil, fault.New(fault.Invalid, "host "+host.GetName(), "is this host",
			fault.WithHint("use fairlead fleet leave"))
	case host.GetState() == fleetv1.HostState_HOST_STATE_ALIVE && !force:
		return nil, fault.New(fault.Conflict, "host "+host.GetName(), "is alive",
			fault.WithHint("on that host: fairlead fleet leave; or use --force"))
	}
	return host, p.remove(ctx, a, host.GetId())
}

// remove removes a host and puts its addresses in quarantine.
func (p *part) remove(ctx context.Context, a admission.Admission, host string) error {
	if _, err := a.Remove(ctx, host); err != nil {
		return err
	}
	if err := p.ledger().Forget(ctx, host); err != nil {
		p.cfg.Log.Warn("blocks of a removed host not released yet", "host", host, "error", err)
	}
	return nil
}

// find returns the host with a name, an ID or a unique start of an ID.
func (p *part) find(reference string) (*fleetv1.Host, error) {
	hosts, _ := p.list()
	var found *fleetv1.Host
	best, several := id.None, false
	for _, h := range hosts {
		switch match := id.Matches(reference, h.GetId(), h.GetName()); {
		case match > best:
			found, best, several = h, match, false
		case match == best && match != id.None:
			several = true
		}
	}
	if best == id.None {
		return nil, fault.New(fault.NotFound, "host "+reference, "is not part of the fleet",
			fault.WithHint("see fairlead fleet ls"))
	}
	if several {
		return nil, fault.New(fault.Invalid, "host "+reference, "is the start of several IDs")
	}
	return found, nil
}
