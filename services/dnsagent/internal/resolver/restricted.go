package resolver

import (
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
)

// policy returns the container's policy, or nil.
func (r *Resolver) policy() Policy {
	if r.cfg.Policy == nil {
		return nil
	}
	return r.cfg.Policy()
}

// handleRestricted responds to a question of a container with a policy. All answers wait until their
// addresses are open, so none is given by the reading goroutine.
func (r *Resolver) handleRestricted(q *query, policy Policy, later *sync.WaitGroup, accept func(),
	respond func([]byte, Origin)) {
	local := r.local(q)
	if local == nil && !policy.Allows(q.msg.Question[0].Name) {
		respond(q.answer(dns.RcodeNameError), Origin{Source: FromPolicy})
		return
	}
	if !r.take() {
		respond(q.refused(), Origin{Source: FromLimit})
		return
	}

	accept()
	later.Go(func() {
		defer r.release()
		answer, from := local, Origin{Source: FromContainers}
		if answer == nil {
			answer, from = r.resolve(q)
		}
		if answer == nil {
			return // clients repeat a query without a response, but not after a failure
		}
		respond(r.opened(q, policy, answer, local != nil), from)
	})
}

// resolve returns a response from the cache or from an upstream, in the form for the client. It returns
// nil at shutdown.
func (r *Resolver) resolve(q *query) ([]byte, Origin) {
	routes := r.cfg.Routes()
	key, cacheable := cache.KeyOf(cacheScope(routes), q.msg)
	if cacheable {
		if cached := r.cfg.Cache.Get(key, time.Now()); cached != nil {
			return q.fromCache(cached), Origin{Source: FromCache}
		}
	}

	answer, server := r.forward(q, routes)
	if answer == nil && r.answerCtx.Err() != nil {
		return nil, Origin{}
	}
	if cacheable && answer != nil {
		r.cfg.Cache.Put(key, answer, time.Now())
	}
	return q.relay(answer), Origin{FromServer, server}
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
