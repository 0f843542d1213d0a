package resolver

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Source is a kind of origins of answers.
type Source string

// The sources.
const (
	FromContainers Source = "containers" // names of containers
	FromRecords    Source = "records"    // records of the administrator
	FromCache      Source = "cache"
	FromServer     Source = "server" // an upstream
	FromPolicy     Source = "policy" // not asked: the policy does not allow the name
	FromLimit      Source = "limit"  // not asked: too many questions were pending
)

// Origin is the source of an answer and its server.
type Origin struct {
	Source Source
	Server netip.AddrPort // that answered; only with FromServer, and not if none did
}

// Answered is a question with its answer.
type Answered struct {
	Origin
	Owner    string
	Begun    time.Time
	Took     time.Duration
	Question dns.Question
	Code     int    // of the response
	Message  []byte // the response; must not be kept or changed
}

// record reports an answered question.
func (r *Resolver) record(q *query, answer []byte, from Origin, begun time.Time) {
	if r.cfg.Record == nil || len(answer) < headerSize {
		return
	}
	r.cfg.Record(Answered{Origin: from, Owner: r.cfg.Owner, Begun: begun, Took: time.Since(begun),
		Question: q.msg.Question[0], Code: int(answer[3] & 0xf), Message: answer})
}
