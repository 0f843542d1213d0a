package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// seenTime is the time that the last manager waits until it sees that the last other host has left.
const seenTime = time.Second

// forcedLeave is the time that a forced leave waits for the managers.
const forcedLeave = 5 * time.Second

// Leave takes this host out of its fleet. Without force, it fails if no manager can be reached, or if
// other hosts depend on this manager.
func (f *Fleet) Leave(ctx context.Context, force bool) error {
	f.change.Lock()
	defer f.change.Unlock()
	p, err := f.current()
	if err != nil {
		return err
	}
	limited, cancel := context.WithCancel(ctx)
	if force {
		limited, cancel = context.WithTimeout(ctx, forcedLeave)
	}
	defer cancel()
	if err := p.depart(limited); err != nil && !force {
		return err
	}

	f.end()
	p.dropReplica()
	if err := f.store().Remove(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, f.begin(p.membership(), false))
	}
	return membership.Remove(f.cfg.Dir)
}

// depart takes the host out of the fleet's records. A manager becomes a member first. The only manager
// ends the fleet, which has no other hosts.
func (p *part) depart(ctx context.Context) error {
	m := p.membership()
	if m.IsManager() && len(p.managerHosts()) < 2 {
		seen, cancel := context.WithTimeout(ctx, seenTime)
		p.mirror.Await(seen, func(v *view.View) bool { return len(v.Hosts()) < 2 })
		cancel()
		others := p.others()
		if others == 0 && m.External != nil {
			return outside{p}.end(ctx)
		}
		if others == 0 {
			return nil
		}
		return fault.New(fault.Conflict, "host "+m.Name,
			fmt.Sprintf("is the only manager, and %d more hosts are part of the fleet", others),
			fault.WithHint("make one of them a manager: fairlead fleet promote HOST; or end the fleet: "+
				"fairlead fleet leave --force"))
	}
	if m.IsManager() {
		if err := p.resign(ctx, m); err != nil {
			return err
		}
	}
	return p.outage.Retry(ctx, p.dismissSelf)
}

// resign makes this manager a member, and waits until it has no keys of a manager.
func (p *part) resign(ctx context.Context, m *membership.Membership) error {
	a, err := p.admission()
	if err != nil {
		return err
	}
	if _, err := p.demote(ctx, a, &fleetv1.Host{Id: m.Host, Name: m.Name, Address: m.Address}); err != nil {
		return err
	}
	for deadline := time.Now().Add(memberChange); p.membership().IsManager(); time.Sleep(50 * time.Millisecond) {
		p.noteChange()
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fault.New(fault.Unavailable, "host "+m.Name, "is still a manager: no other manager has answered")
		}
	}
	return nil
}

// others returns the number of other hosts.
func (p *part) others() int {
	n := 0
	p.mirror.Read(func(v *view.View) {
		for id := range v.Hosts() {
			if id != p.membership().Host {
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
		manager, err := api.DialManager(address, p.clientTLS("", pki.Manager))
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
		fault.WithHint("leave anyway with --force, and remove the host on a manager: fairlead fleet rm %s",
			p.membership().Name))
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
	case host.GetId() == p.membership().Host:
		return nil, fault.New(fault.Invalid, "host "+host.GetName(), "is this host",
			fault.WithHint("use fairlead fleet leave"))
	case host.GetState() == fleetv1.HostState_HOST_STATE_ALIVE && !force:
		return nil, fault.New(fault.Conflict, "host "+host.GetName(), "is alive",
			fault.WithHint("on that host: fairlead fleet leave; or use --force"))
	}
	return host, p.outage.Retry(ctx, func(ctx context.Context) error { return p.remove(ctx, a, host.GetId()) })
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
