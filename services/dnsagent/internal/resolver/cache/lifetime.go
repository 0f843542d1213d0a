package cache

import (
	"math"
	"time"

	"github.com/miekg/dns"
)

const (
	// longest bounds the TTL of a cached response, whatever the server says.
	longest = time.Hour
	// header is the size of a message header in bytes.
	header = 12
)

// CacheTTL returns the time for which a response may be cached, 0 for none. Negative responses need
// the SOA record of the zone, whose minimum is their TTL (RFC 2308).
func CacheTTL(question dns.Question, answer []byte) time.Duration {
	if len(answer) < header || len(answer) > maxSize {
		return 0
	}

	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil || m.Truncated || m.Rcode != dns.RcodeSuccess &&
		m.Rcode != dns.RcodeNameError {
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

// ttl returns a TTL as defined by RFC 2181: 0 if the highest bit is set.
func ttl(seconds uint32) uint32 {
	if seconds > math.MaxInt32 {
		return 0
	}
	return seconds
}

// negative returns the TTL of a negative response, 0 without an SOA record.
func negative(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttl(soa.Hdr.Ttl), ttl(soa.Minttl))
		}
	}
	return 0
}

// hasAnswer reports whether a message has a record of the requested type, not only a referral.
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

// headers returns the headers of all records with a TTL. EDNS uses the field for other data.
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
