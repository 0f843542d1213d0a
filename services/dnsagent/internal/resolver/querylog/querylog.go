// Package querylog keeps the last questions of containers, and the names of the addresses that were
// answered to them. Package resolvers creates a Log, package resolver fills it, package api reads it.
//
// Everything is bounded and in memory only.
package querylog

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

// Limits.
const (
	maxKept  = 4096 // questions of all containers
	maxNames = 1024 // addresses of one container
)

// Query is an answered question.
type Query struct {
	Time      time.Time // of the answer
	Owner     string
	Name      string // in lower case, without the final dot
	Type      string // such as AAAA
	Code      string // such as NOERROR
	Source    string
	Server    string // that answered; empty without one
	Took      time.Duration
	Addresses []netip.Addr
}

// Log keeps questions. It is safe for concurrent use.
type Log struct {
	stats stats

	mu      sync.Mutex
	kept    []Query // oldest first
	names   map[string]map[netip.Addr]string
	changed chan struct{} // closed by the next question; nil if no reader waits
}

// New returns an empty log.
func New() *Log { return &Log{names: map[string]map[netip.Addr]string{}, stats: newStats()} }

// Add records an answered question. Times are made different, so that Since returns each question once.
func (l *Log) Add(a resolver.Answered) {
	q := queryOf(a)
	l.stats.add(a)

	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.kept); n > 0 && !q.Time.After(l.kept[n-1].Time) {
		q.Time = l.kept[n-1].Time.Add(1)
	}
	l.kept = append(l.kept, q)
	if len(l.kept) > 2*maxKept {
		l.kept = append([]Query(nil), l.kept[len(l.kept)-maxKept:]...)
	}
	l.remember(q)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// remember keeps the names of addresses. A container with too many starts again. l.mu must be held.
func (l *Log) remember(q Query) {
	if len(q.Addresses) == 0 {
		return
	}
	known := l.names[q.Owner]
	if known == nil || len(known)+len(q.Addresses) > maxNames {
		known = map[netip.Addr]string{}
		l.names[q.Owner] = known
	}
	for _, a := range q.Addresses {
		known[a] = q.Name
	}
}

// queryOf returns the record of a question.
func queryOf(a resolver.Answered) Query {
	q := Query{Time: a.Begun.Add(a.Took), Owner: a.Owner,
		Name: strings.ToLower(strings.TrimSuffix(a.Question.Name, ".")), Type: dns.Type(a.Question.Qtype).String(),
		Code: dns.RcodeToString[a.Code], Source: string(a.Source), Took: a.Took}
	if a.Server.IsValid() {
		q.Server = a.Server.String()
	}
	if a.Code != dns.RcodeSuccess || a.Question.Qtype != dns.TypeA && a.Question.Qtype != dns.TypeAAAA {
		return q
	}

	m := new(dns.Msg)
	if m.Unpack(a.Message) != nil {
		return q
	}
	for _, rr := range m.Answer {
		var data []byte
		switch rr := rr.(type) {
		case *dns.A:
			data = rr.A.To4()
		case *dns.AAAA:
			data = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(data); ok && len(q.Addresses) < maxNames {
			q.Addresses = append(q.Addresses, addr.Unmap())
		}
	}
	return q
}

// Since returns the questions of a container, or with an empty owner of all, after a time, and a
// channel that is closed with the next question.
func (l *Log) Since(owner string, t time.Time) (found []Query, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.kept) - 1; i >= 0 && l.kept[i].Time.After(t); i-- {
		if owner == "" || l.kept[i].Owner == owner {
			found = append(found, l.kept[i])
		}
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return found, l.changed
}

// Names returns the last name of each address that was answered to containers, by owner.
func (l *Log) Names() map[string]map[netip.Addr]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]map[netip.Addr]string, len(l.names))
	for owner, known := range l.names {
		copied := make(map[netip.Addr]string, len(known))
		for a, name := range known {
			copied[a] = name
		}
		all[owner] = copied
	}
	return all
}

// Forget removes the names of a container.
func (l *Log) Forget(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.names, owner)
}
