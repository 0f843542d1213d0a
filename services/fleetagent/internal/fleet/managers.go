package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/admission"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// memberInterval is the time between two comparisons of the members of the store with the managers, and
// until a step that cannot be made is repeated. The store refuses a change until all its members have been
// connected for five seconds, so a command waits much longer for one.
const (
	memberInterval = 2 * time.Second
	memberChange   = time.Minute
)

// roles makes this host's role, and the members of the store, follow from the records of hosts.
type roles struct{ *part }

// noteChange makes roles compare what must follow from the records of hosts.
func (p *part) noteChange() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// keep applies what follows from the records of hosts, until ctx ends: the URLs of the store, this host's
// own role, and on managers the members of the store.
func (r roles) keep(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		seen := r.digest()
		text := ""
		err := r.apply(ctx)
		r.mu.Lock()
		r.memberErr = err
		r.mu.Unlock()
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != last && ctx.Err() == nil {
			r.cfg.Log.Info("store members differ from the managers", "error", text)
		}
		last = text
		r.wait(ctx, seen)
	}
}

// wait waits until something may have to be done.
func (r roles) wait(ctx context.Context, seen string) {
	due := time.After(memberInterval)
	for {
		changed := r.mirror.Changed()
		if r.digest() != seen {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			return
		case <-r.changed:
			return
		case <-changed:
		}
	}
}

// digest returns a text that changes with what apply depends on.
func (r roles) digest() string { return fmt.Sprint(r.managerHosts(), r.role(), r.storeURLs()) }

func (r roles) apply(ctx context.Context) error {
	r.updateURLs()
	if err := r.drop(ctx); err != nil || !r.manages() {
		return err
	}
	return r.reconcile(ctx)
}

// role returns the role in this host's record. It is unspecified if the record is not known.
func (p *part) role() (role fleetv1.HostRole) {
	own := p.membership().Host
	p.mirror.Read(func(v *view.View) { role = v.Hosts()[own].GetRole() })
	return role
}

// manages reports whether this host is a manager, by its keys and by its record.
func (r roles) manages() bool {
	return r.membership().IsManager() && r.role() == fleetv1.HostRole_HOST_ROLE_MANAGER
}

// updateURLs uses the URLs of the store in the managers' records, and stores them for the next start.
func (r roles) updateURLs() {
	urls := r.storeURLs()
	r.client.SetURLs(r.candidates(urls))
	if slices.Equal(urls, r.membership().Store) {
		return
	}
	if err := r.edit(func(m *membership.Membership) { m.Store = urls }); err != nil {
		r.cfg.Log.Error("addresses of the store not saved", "error", err)
	}
}

// candidates returns the URLs to try. While the store does not answer, they are those of all managers: the
// members can have changed when this host could not see it.
func (r roles) candidates(urls []string) []string {
	if r.outage.Err() == nil {
		return urls
	}
	all := slices.Clone(urls)
	hosts, _ := r.list()
	for _, h := range hosts {
		url := r.clientURL(h)
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER && url != "" && !slices.Contains(all, url) {
			all = append(all, url)
		}
	}
	return all
}

// reconcile makes one step towards members that match the managers.
func (r roles) reconcile(ctx context.Context) error {
	if r.membership().External != nil {
		return r.equip(ctx)
	}
	members, err := r.client.Members(ctx)
	if err != nil {
		return err
	}
	// All hosts must know the voters before one of them is removed.
	if published, err := r.publishURLs(ctx, members); published || err != nil {
		return err
	}
	if len(quorum.Next(r.managerHosts(), members)) == 0 {
		return nil
	}

	// Two managers that change the members at the same time could remove two voters of three.
	_, locked := r.client.Locked(ctx, r.keys.Members(), func(ctx context.Context) {
		if members, err = r.client.Members(ctx); err == nil {
			err = r.step(ctx, members)
		}
	})
	return errors.Join(locked, err)
}

// step makes the first step that is possible, and asks managers on the way to start their stores.
func (r roles) step(ctx context.Context, members []quorum.Member) error {
	var all error
	for _, s := range quorum.Next(r.managerHosts(), members) {
		var err error
		switch s.Kind {
		case quorum.None:
		case quorum.Add:
			err = r.client.AddLearner(ctx, s.Manager.PeerURL)
		case quorum.Start:
			if err = r.appoint(ctx, s, members); err == nil {
				continue // whether its store starts is seen later
			}
		case quorum.Promote:
			err = r.client.PromoteMember(ctx, s.Member.ID)
		case quorum.Remove:
			err = r.client.RemoveMember(ctx, s.Member.ID)
		}
		if err == nil {
			r.noteChange()
			return nil
		}
		all = errors.Join(all, err)
	}
	return all
}

// managerHosts returns the hosts that are managers by their records.
func (p *part) managerHosts() []quorum.Manager {
	hosts, _ := p.list()
	var all []quorum.Manager
	for _, h := range hosts {
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
			all = append(all, quorum.Manager{Host: h.GetId(), PeerURL: p.peerURL(h),
				Alive: h.GetState() == fleetv1.HostState_HOST_STATE_ALIVE})
		}
	}
	return all
}

// peerURL and clientURL return the URLs of a host's member of the store. The ports are the same on all
// hosts.
func (p *part) peerURL(h *fleetv1.Host) string { return storeURL(h, p.cfg.Ports.StorePeer) }

func (r roles) clientURL(h *fleetv1.Host) string { return storeURL(h, r.cfg.Ports.StoreClient) }

func storeURL(h *fleetv1.Host, port uint16) string {
	address, err := netip.ParseAddr(h.GetAddress())
	if err != nil {
		return ""
	}
	return "https://" + joinPort(address, port)
}

// publishURLs stores the client URLs of voters, and reports whether any was missing. A learner does not answer
// clients.
func (r roles) publishURLs(ctx context.Context, members []quorum.Member) (published bool, all error) {
	a, err := r.admission()
	if err != nil {
		return false, err
	}
	hosts, _ := r.list()
	for _, h := range hosts {
		i := slices.IndexFunc(members, func(m quorum.Member) bool { return m.PeerURL == r.peerURL(h) })
		want := ""
		if i >= 0 && !members[i].Learner {
			want = r.clientURL(h)
		}
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER && h.GetStoreUrl() != want {
			published = true
			all = errors.Join(all, a.SetStoreURL(ctx, h.GetId(), want))
		}
	}
	return published, all
}

// appoint sends a manager the keys that it needs and asks it to start its member of the store.
func (r roles) appoint(ctx context.Context, s quorum.Step, members []quorum.Member) error {
	m := r.membership()
	hosts, _ := r.list()
	i := slices.IndexFunc(hosts, func(h *fleetv1.Host) bool { return h.GetId() == s.Manager.Host })
	if i < 0 || !m.IsManager() {
		return nil
	}
	var cluster []string
	for _, member := range members {
		name := member.Name
		if k := slices.IndexFunc(hosts, func(h *fleetv1.Host) bool { return r.peerURL(h) == member.PeerURL }); k >= 0 {
			name = hosts[k].GetId()
		}
		cluster = append(cluster, name+"="+member.PeerURL)
	}

	return r.sendKeys(ctx, hosts[i], api.Keys{Authority: *m.Authority, Store: m.Peers.Authority, Member: s.Member.ID,
		Cluster: strings.Join(cluster, ","), URLs: r.storeURLs(), Generation: m.StoreGeneration})
}

func (r roles) sendKeys(ctx context.Context, to *fleetv1.Host, keys api.Keys) error {
	manager, err := api.DialManager(agentAddress(to), r.clientTLS(to.GetId(), ""))
	if err != nil {
		return err
	}
	return errors.Join(manager.Appoint(ctx, keys), manager.Close())
}

func agentAddress(h *fleetv1.Host) netip.AddrPort {
	address, err := netip.ParseAddr(h.GetAddress())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(address, uint16(h.GetPort())) //nolint:gosec // a stored port
}

// PromoteHost makes a host a manager and waits until its store answers.
func (f *Fleet) PromoteHost(ctx context.Context, reference string) (*fleetv1.Host, error) {
	p, a, host, err := f.managed(reference)
	if err != nil {
		return nil, err
	}
	if host.GetState() != fleetv1.HostState_HOST_STATE_ALIVE {
		return nil, fault.New(fault.Conflict, "host "+host.GetName(), "is not alive, its store could not be started",
			fault.WithHint("start its agent first"))
	}
	var promoted *fleetv1.Host
	if err := p.outage.Retry(ctx, func(ctx context.Context) error {
		promoted, err = a.Promote(ctx, host.GetId())
		return err
	}); err != nil {
		return nil, err
	}
	if p.membership().External != nil {
		return promoted, outside{p}.await(ctx, promoted)
	}
	demoted, r := false, roles{p}
	err = p.awaitMember(ctx, promoted, "its store has not started yet; see the log of its agent",
		func(m *quorum.Member) bool {
			if demoted, err = r.demoted(ctx, host.GetId()); demoted || m == nil || !m.Started {
				return demoted
			}
			_, err := p.client.Status(ctx, storeURL(promoted, p.cfg.Ports.StoreClient))
			return err == nil
		})
	if demoted {
		return nil, fault.New(fault.Conflict, "host "+host.GetName(), "was made a member meanwhile")
	}
	return promoted, err
}

// DemoteHost makes a manager a member and waits until its store has left.
func (f *Fleet) DemoteHost(ctx context.Context, reference string) (*fleetv1.Host, error) {
	p, a, host, err := f.managed(reference)
	if err != nil {
		return nil, err
	}
	return p.demote(ctx, a, host)
}

func (p *part) demote(ctx context.Context, a admission.Admission, host *fleetv1.Host) (*fleetv1.Host, error) {
	other := ""
	for _, m := range p.managerHosts() {
		if m.Host != host.GetId() && (other == "" || m.Alive) {
			other = m.Host
		}
	}
	if other == "" {
		return nil, fault.New(fault.Conflict, "host "+host.GetName(), "is the only manager",
			fault.WithHint("make another host a manager first: fairlead fleet promote HOST"))
	}
	var demoted *fleetv1.Host
	unanswered, self := false, host.GetId() == p.membership().Host
	if err := p.outage.Retry(ctx, func(ctx context.Context) (err error) {
		demoted, err = a.Demote(ctx, host.GetId(), other)
		if unanswered && self && fault.KindOf(err) == fault.Denied {
			demoted, err = host, nil // the unanswered call has taken this host's rights
		}
		unanswered = err != nil
		return err
	}); err != nil {
		return nil, err
	}
	if p.membership().External != nil {
		return demoted, nil
	}
	return demoted, p.awaitMember(ctx, demoted, "its store has not left yet; are the other managers alive?",
		func(m *quorum.Member) bool { return m == nil })
}

// managed returns what a manager needs to change another host.
func (f *Fleet) managed(reference string) (*part, admission.Admission, *fleetv1.Host, error) {
	p, err := f.current()
	if err != nil {
		return nil, admission.Admission{}, nil, err
	}
	a, err := p.admission()
	if err != nil {
		return nil, a, nil, err
	}
	host, err := p.find(reference)
	return p, a, host, err
}

// awaitMember waits until the store's member of a host, nil if there is none, is as wanted.
func (p *part) awaitMember(ctx context.Context, host *fleetv1.Host, late string,
	done func(*quorum.Member) bool) error {
	ctx, cancel := context.WithTimeout(ctx, memberChange)
	defer cancel()
	var err error
	for {
		p.noteChange()
		var members []quorum.Member
		if members, err = p.client.Members(ctx); err == nil {
			i := slices.IndexFunc(members, func(m quorum.Member) bool { return m.PeerURL == p.peerURL(host) })
			var found *quorum.Member
			if i >= 0 {
				found = &members[i]
			}
			if done(found) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return fault.New(fault.Unavailable, "host "+host.GetName(), late,
				fault.WithCause(errors.Join(err, p.memberErr)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// clientTLS returns the TLS configuration of a connection to a host of the fleet. An empty host or role
// accepts each.
func (p *part) clientTLS(host string, role pki.Role) *tls.Config {
	return pki.ClientConfig(p.membership().CA, p.certificate, pki.Expected{Host: host, Role: role}, p.cfg.Now)
}
