package resolver

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/proto/dnsrecord"
)

// Records finds records of the administrator as the container sees them. It returns nil for other
// names.
type Records func(name string) []dnsrecord.Entry

// recorded holds the answer of the administrator's records to a question.
type recorded struct {
	code    int
	records []dns.RR
	rest    string // the name that an upstream is to be asked about; empty if the answer is complete
}

// recorded returns the answer of the administrator's records, and nil for other names. Aliases are
// followed to names of containers and to other records.
func (r *Resolver) recorded(q *query) *recorded {
	question := q.msg.Question[0]
	if r.cfg.Records == nil || question.Qclass != dns.ClassINET {
		return nil
	}
	found := r.cfg.Records(question.Name)
	if found == nil {
		return nil
	}

	out := &recorded{}
	at := question
	for range dnsrecord.MaxChain + 1 {
		alias := found[0].Type == dnsrecord.CNAME && at.Qtype != dns.TypeCNAME && at.Qtype != dns.TypeANY
		if !alias {
			out.add(at, found)
			return out
		}
		out.records = append(out.records, recordRR(at.Name, found[0], found[0].TTL))
		at.Name = dns.Fqdn(found[0].Target)
		if r.complete(out, at) {
			return out
		}
		if found = r.cfg.Records(at.Name); found == nil {
			out.rest = at.Name
			return out
		}
	}
	return &recorded{code: dns.RcodeServerFailure} // a loop
}

// complete adds the addresses of a container as the end of a chain of aliases. It reports whether the
// name belongs to a container.
func (r *Resolver) complete(out *recorded, at dns.Question) bool {
	addresses, known := r.cfg.Names.Lookup(r.cfg.Owner, at.Name, wantOf(at.Qtype))
	isRecord := !known && r.cfg.Records(at.Name) != nil
	if !known && !isRecord {
		addresses, known = r.cfg.Names.LookupWildcard(r.cfg.Owner, at.Name, wantOf(at.Qtype))
	}
	if known {
		out.records = append(out.records, addressRecords(at, addresses)...)
		return true
	}
	if !isRecord && r.cfg.Names.Registered(at.Name) {
		out.code = dns.RcodeNameError // of another network
		return true
	}
	return false
}

// add adds the records of the type of a question. All have the smallest TTL.
func (a *recorded) add(at dns.Question, found []dnsrecord.Entry) {
	var fit []dnsrecord.Entry
	lowest := uint32(dnsrecord.MaxTTL)
	for _, e := range found {
		if kind := dns.StringToType[string(e.Type)]; at.Qtype == kind || at.Qtype == dns.TypeANY {
			fit, lowest = append(fit, e), min(lowest, e.TTL)
		}
	}
	for _, e := range fit {
		a.records = append(a.records, recordRR(at.Name, e, lowest))
	}
}

// recordRR returns a record in the form of the DNS library, for a question about a name.
func recordRR(name string, e dnsrecord.Entry, ttl uint32) dns.RR {
	h := dns.RR_Header{Name: name, Rrtype: dns.StringToType[string(e.Type)], Class: dns.ClassINET, Ttl: ttl}
	switch e.Type {
	case dnsrecord.A:
		return &dns.A{Hdr: h, A: e.Address.AsSlice()}
	case dnsrecord.AAAA:
		return &dns.AAAA{Hdr: h, AAAA: e.Address.AsSlice()}
	case dnsrecord.CNAME:
		return &dns.CNAME{Hdr: h, Target: dns.Fqdn(e.Target)}
	case dnsrecord.PTR:
		return &dns.PTR{Hdr: h, Ptr: dns.Fqdn(e.Target)}
	case dnsrecord.SRV:
		return &dns.SRV{Hdr: h, Priority: e.Priority, Weight: e.Weight, Port: e.Port, Target: dns.Fqdn(e.Target)}
	case dnsrecord.TXT:
	}
	txt := &dns.TXT{Hdr: h}
	for _, text := range e.Texts {
		txt.Txt = append(txt.Txt, dnsrecord.Escape(text)) // the library has texts with escapes
	}
	return txt
}

func addressRecords(question dns.Question, found []netip.Addr) (records []dns.RR) {
	for _, a := range found {
		records = append(records, addressRecord(question, a))
	}
	return records
}

// following returns the question about the rest of a chain of aliases.
func (q *query) following(rest string) *query {
	m := *q.msg
	m.Question = []dns.Question{{Name: rest, Qtype: q.msg.Question[0].Qtype, Qclass: q.msg.Question[0].Qclass}}
	return &query{msg: &m, limit: q.limit, tcp: q.tcp}
}

// joined returns the response to the rest of a chain as the response to the question, with the chain
// before it.
func (q *query) joined(chain []dns.RR, response []byte) []byte {
	if len(chain) == 0 || response == nil {
		return response
	}
	m := new(dns.Msg)
	if m.Unpack(response) != nil {
		return q.answer(dns.RcodeServerFailure)
	}
	m.Question, m.Compress = q.msg.Question, true
	m.Answer = append(append([]dns.RR(nil), chain...), m.Answer...)
	m.Authoritative, m.AuthenticatedData = false, false // the alias has no signature
	out, err := m.Pack()
	switch {
	case err != nil:
		return q.answer(dns.RcodeServerFailure)
	case len(out) > q.limit:
		return q.truncated(m.Rcode)
	}
	return out
}

// nameOf returns the name of a question in lower case, without the final dot.
func nameOf(q *query) string { return strings.ToLower(strings.TrimSuffix(q.msg.Question[0].Name, ".")) }
