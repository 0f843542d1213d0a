package resolver

import (
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
)

// plan holds the answer of this host to a question, or the question for upstreams.
type plan struct {
	q      *query
	answer []byte // complete answer; nil if an upstream must be asked
	from   Origin // of the answer
	policy bool   // a policy for names applies to the question, as it does to upstream names

	ask   *query   // for upstreams: the question, or the end of a chain of aliases
	chain []dns.RR // aliases of records before it

	routes    []Upstream
	key       cache.Key
	cacheable bool
}

// plan looks for an answer in order: names of containers, records, wildcard names of containers.
func (r *Resolver) plan(q *query) *plan {
	p := &plan{q: q, ask: q}
	if p.answer = r.local(q); p.answer != nil {
		p.from = Origin{Source: FromContainers}
		return p
	}

	if found := r.recorded(q); found != nil {
		p.policy, p.from = true, Origin{Source: FromRecords}
		if found.rest == "" {
			p.answer = q.answer(found.code, found.records...)
			return p
		}
		p.ask, p.chain = q.following(found.rest), found.records
		return p
	}

	if p.answer = r.wildcard(q); p.answer == nil {
		p.answer = r.hidden(q)
	}
	if p.answer != nil {
		p.from = Origin{Source: FromContainers}
		return p
	}
	p.policy = true
	return p
}

// prepare chooses the upstreams.
func (r *Resolver) prepare(p *plan) {
	p.routes = r.cfg.Routes(nameOf(p.ask))
	p.key, p.cacheable = cache.KeyOf(cacheScope(p.routes), p.ask.msg)
}

// origin returns the origin of an answer: records, if its name has one, with the server that completed
// it.
func (p *plan) origin(from Origin) Origin {
	if len(p.chain) > 0 {
		from.Source = FromRecords
	}
	return from
}

// cached returns the response from the cache, or nil.
func (r *Resolver) cached(p *plan) []byte {
	if !p.cacheable {
		return nil
	}
	cached := r.cfg.Cache.Get(p.key, time.Now())
	if cached == nil {
		return nil
	}
	return p.q.joined(p.chain, p.ask.fromCache(cached))
}

// fetch returns the response of an upstream in the form for the client. It returns nil at shutdown.
func (r *Resolver) fetch(p *plan) ([]byte, Origin) {
	answer, server := r.forward(p.ask, p.routes)
	if answer == nil && r.answerCtx.Err() != nil {
		return nil, Origin{}
	}
	if p.cacheable && answer != nil {
		r.cfg.Cache.Put(p.key, answer, time.Now())
	}
	return p.q.joined(p.chain, p.ask.relay(answer)), p.origin(Origin{FromServer, server})
}
