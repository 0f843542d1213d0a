// Package namepolicy applies the egress policy of a container to its questions: which names are
// answered, and that natagent has opened their addresses before. Package resolvers creates a Policy,
// package resolver calls it.
package namepolicy

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// openTime bounds the wait for natagent. Clients repeat a question after five seconds.
const openTime = 4 * time.Second

// Policy is the policy of one container.
type Policy struct {
	owner   string
	rules   egress.Policy
	nat     natv1.PolicyServiceClient
	session *Session // of natagent
	known   known
	rate    rate
	log     *slog.Logger
	report  func(func()) // runs a report in the background; replaced by tests
}

// New returns the policy of a container.
func New(owner string, rules egress.Policy, nat natv1.PolicyServiceClient, session *Session,
	log *slog.Logger) *Policy {
	return &Policy{owner: owner, rules: rules, nat: nat, session: session, log: log,
		report: func(f func()) { go f() }}
}

// Allows reports whether a question about a name may leave the container. A refusal is recorded.
func (p *Policy) Allows(name string) bool {
	if p.rules.AllowsName(name) {
		return true
	}
	if !isReverse(name) { // programs ask for names of addresses they know anyway
		p.refused(name)
	}
	return false
}

// refused records a refused question, unless there were too many in this second.
func (p *Policy) refused(name string) {
	if lost, ok := p.rate.take(time.Now()); ok {
		p.report(func() { p.record(name, lost) })
	}
}

func isReverse(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".arpa.") }

func (p *Policy) record(name string, lost uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	req := &natv1.RecordRefusedNameRequest{Owner: p.owner, Name: strings.ToLower(strings.TrimSuffix(name, ".")),
		Lost: lost}
	if _, err := p.nat.RecordRefusedName(ctx, req); err != nil {
		p.log.Debug("refused name not recorded", "owner", p.owner, "name", name, "error", err)
	}
}

// Open opens the addresses of an answer, which the container must not see before. local is true for
// names of containers. An error means that the answer must not be given.
func (p *Policy) Open(ctx context.Context, m *dns.Msg, local bool) error {
	name := m.Question[0].Name
	addresses, ttl := answered(m)
	if len(addresses) == 0 {
		return nil
	}
	if at := slices.IndexFunc(addresses, func(a netip.Addr) bool { return !local && p.rebinds(a) }); at >= 0 {
		p.refused(name)
		return fault.New(fault.Denied, "name "+name, "has the private address "+addresses[at].String())
	}

	began, session := time.Now(), p.session.current.Load()
	if p.known.covers(session, strings.ToLower(name), addresses, ttl, began) {
		return nil
	}
	resp, err := p.learn(ctx, name, addresses, ttl, !local)
	if err == nil && resp.GetAnswerable() != nil {
		p.known.put(session, strings.ToLower(name), addresses, began.Add(resp.GetAnswerable().AsDuration()))
	}
	return err
}

// learn asks natagent to open addresses.
func (p *Policy) learn(ctx context.Context, name string, addresses []netip.Addr, ttl time.Duration,
	upstream bool) (*natv1.LearnAddressesResponse, error) {
	req := &natv1.LearnAddressesRequest{Owner: p.owner, Name: name, Ttl: durationpb.New(ttl), Upstream: upstream}
	for _, a := range addresses {
		req.Addresses = append(req.Addresses, a.String())
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return p.nat.LearnAddresses(ctx, req)
}

// rebinds reports whether an address must not be answered: with domain rules, a name outside must not have a private
// address, unless a rule allows the address itself. natagent opens no private address for such a name.
func (p *Policy) rebinds(a netip.Addr) bool {
	if !p.rules.HasDomains() || egress.IsPublic(a) {
		return false
	}
	return !slices.ContainsFunc(p.rules, func(r egress.Rule) bool {
		switch {
		case r.Deny:
			return false
		case r.Kind == egress.Prefix:
			return r.Prefix.Contains(a)
		}
		return r.Kind == egress.LAN || r.Kind == egress.All || r.Kind == egress.Observe || r.Kind == egress.Host
	})
}

// answered returns the addresses of the answer and its smallest TTL. It follows aliases from the
// question, so that other records open nothing.
func answered(m *dns.Msg) (addresses []netip.Addr, ttl time.Duration) {
	names := map[string]bool{strings.ToLower(m.Question[0].Name): true}
	for known := 0; known < len(names); { // aliases can be in any order
		known = len(names)
		for _, rr := range m.Answer {
			if alias, ok := rr.(*dns.CNAME); ok && names[strings.ToLower(alias.Hdr.Name)] {
				names[strings.ToLower(alias.Target)] = true
			}
		}
	}

	smallest := uint32(1 << 31)
	for _, rr := range m.Answer {
		if !names[strings.ToLower(rr.Header().Name)] {
			continue
		}
		var data []byte
		switch rr := rr.(type) {
		case *dns.A:
			data = rr.A.To4()
		case *dns.AAAA:
			data = rr.AAAA.To16()
		case *dns.CNAME:
			smallest = min(smallest, rr.Hdr.Ttl)
			continue
		default:
			continue
		}
		if a, ok := netip.AddrFromSlice(data); ok {
			addresses, smallest = append(addresses, a.Unmap()), min(smallest, rr.Header().Ttl)
		}
	}
	return addresses, time.Duration(smallest) * time.Second
}
