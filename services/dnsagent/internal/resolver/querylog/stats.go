package querylog

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
)

// maxServers bounds the upstreams that are counted one by one. Others share the zero address.
const maxServers = 64

// Kind is a kind of answers.
type Kind struct{ Source, Code string }

// Upstream counts the questions to one upstream.
type Upstream struct {
	Answers  metrics.Distribution
	Failures uint64
}

// stats counts questions since the start of the process.
type stats struct {
	mu      sync.Mutex
	answers map[Kind]uint64
	servers map[netip.AddrPort]Upstream
}

func newStats() stats {
	return stats{answers: map[Kind]uint64{}, servers: map[netip.AddrPort]Upstream{}}
}

func (s *stats) add(a resolver.Answered) {
	code := dns.RcodeToString[a.Code]
	if code == "" {
		code = "OTHER"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[Kind{string(a.Source), code}]++
}

// Exchanged counts a question to an upstream.
func (l *Log) Exchanged(server netip.AddrPort, took time.Duration, err error) {
	s := &l.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.servers[server]; !known && len(s.servers) >= maxServers {
		server = netip.AddrPort{}
	}
	u := s.servers[server]
	if err != nil {
		u.Failures++
	} else {
		u.Answers.Add(took)
	}
	s.servers[server] = u
}

// Counts returns the numbers of answers by kind, and of questions by upstream.
func (l *Log) Counts() (map[Kind]uint64, map[netip.AddrPort]Upstream) {
	s := &l.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.answers), maps.Clone(s.servers)
}
