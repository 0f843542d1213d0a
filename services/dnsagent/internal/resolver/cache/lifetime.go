package cache

import (
	"math"
	"time"

	"github.com/miekg/dns"
)

const (
	// longest is for how long an answer is kept at most, whatever its server says: what changes is seen again after it.
	longest = time.Hour
	// header is where a message's questions begin.
	header = 12
)

// CacheTTL is for how long an answer to a question may be kept; 0 means not at all. What says that there is nothing is kept as RFC 2308
// has it: only if it comes with the zone's SOA record, for the time that this one gives to such answers.
func CacheTTL(question dns.Question, answer []byte) time.Duration {
	if len(answer) < header || len(answer) > maxSize {
		return 0
	}
	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil || m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	seconds := uint32(math.MaxUint32)
	for _, h := range headers(m) {
		seconds = min(seconds, ttl(h.Ttl))
	}
	if m.Rcode == dns.RcodeNameError || !hasAnswer(m, question) {
		seconds = min(seconds, negative(m))
	}
	if seconds == math.MaxUint32 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, longest)
}

// ttl is a time to live as RFC 2181 reads it: one with the highest bit set is none.
func ttl(seconds uint32) uint32 {
	if seconds > math.MaxInt32 {
		return 0
	}
	return seconds
}

// negative is the SOA's time for such answers; without an SOA there is none.
func negative(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttl(soa.Hdr.Ttl), ttl(soa.Minttl))
		}
	}
	return 0
}

// hasAnswer tells whether a message holds what was asked for, and not only where to look for it.
func hasAnswer(m *dns.Msg, question dns.Question) bool {
	if m.Rcode != dns.RcodeSuccess {
		return false
	}
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; t == question.Qtype || question.Qtype == dns.TypeANY {
			return true
		}
	}
	return false
}

// headers are those of all records that have a time to live. EDNS has something else in that place.
func headers(m *dns.Msg) []*dns.RR_Header {
	var all []*dns.RR_Header
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				all = append(all, h)
			}
		}
	}
	return all
}
