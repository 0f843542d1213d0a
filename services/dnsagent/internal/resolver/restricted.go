package resolver

import (
	"sync"

	"github.com/miekg/dns"
)

// policy returns the container's policy, or nil.
func (r *Resolver) policy() Policy {
	if r.cfg.Policy == nil {
		return nil
	}
	return r.cfg.Policy()
}

// handleRestricted responds to a question of a container with a policy. All answers wait until their
// addresses are open, so none is given by the reading goroutine. Names of records obey the policy like
// other names, but can have private addresses.
func (r *Resolver) handleRestricted(q *query, policy Policy, later *sync.WaitGroup, accept func(),
	respond func([]byte, Origin)) {
	p := r.plan(q)
	if p.policy && !policy.Allows(q.msg.Question[0].Name) {
		respond(r.notAllowed(q), Origin{Source: FromPolicy})
		return
	}
	if !r.take() {
		respond(q.refused(), Origin{Source: FromLimit})
		return
	}

	accept()
	later.Go(func() {
		defer r.release()
		answer, from := p.answer, p.from
		if answer == nil {
			answer, from = r.resolve(p)
		}
		if answer == nil {
			return // clients repeat a query without a response, but not after a failure
		}
		respond(r.opened(q, policy, answer, p.answer != nil), from)
	})
}

// notAllowed returns the response for a name that the policy does not allow. Programs try their next search
// domain after NXDOMAIN, and their next server after REFUSED.
func (r *Resolver) notAllowed(q *query) []byte {
	if r.cfg.Refuse != nil && r.cfg.Refuse() {
		return q.refused()
	}
	return q.answer(dns.RcodeNameError)
}

// resolve returns a response from the cache or from an upstream, in the form for the client. It returns
// nil at shutdown.
func (r *Resolver) resolve(p *plan) ([]byte, Origin) {
	r.prepare(p)
	if cached := r.cached(p); cached != nil {
		return cached, p.origin(Origin{Source: FromCache})
	}
	return r.fetch(p)
}

// opened returns the answer once its addresses are open, or a failure.
func (r *Resolver) opened(q *query, policy Policy, answer []byte, local bool) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil || len(m.Question) != 1 {
		return q.answer(dns.RcodeServerFailure)
	}
	if err := policy.Open(r.answerCtx, m, local); err != nil {
		r.cfg.Log.Warn("answer withheld, its addresses are not open", "owner", r.cfg.Owner,
			"name", m.Question[0].Name, "error", err)
		return q.answer(dns.RcodeServerFailure)
	}
	return answer
}
