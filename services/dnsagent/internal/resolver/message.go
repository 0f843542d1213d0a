package resolver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/zone"
)

// Sizes of messages in bytes.
const (
	headerSize  = 12
	plainUDP    = 512  // accepted by every client
	maxDatagram = 4096 // limit over UDP, whatever a client accepts: each pending query has a buffer
	maxMessage  = 65535
	maxQuestion = 4096 // limit of a query; realistic ones have a few hundred bytes
)

// ttl is the TTL of our own records in seconds, as in Docker.
const ttl = 600

// query is a valid question.
type query struct {
	msg   *dns.Msg // exactly one question, no records except EDNS
	limit int      // maximum response size
	tcp   bool
}

// parse reads a query. If it is invalid, refusal is the response to send; nil means none.
func parse(message []byte, tcp bool) (q *query, refusal []byte) {
	const response, opcode = 0x80, 0x78 // bits of the header's third byte
	if len(message) < headerSize || message[2]&response != 0 {
		return nil, nil // responding to a response would loop
	}

	if message[2]&opcode != 0 {
		return nil, headerOnly(message, dns.RcodeNotImplemented)
	}

	m := new(dns.Msg)
	if err := m.Unpack(message); err != nil || len(m.Question) != 1 || !hasQuestion(message, m.Question[0]) {
		return nil, headerOnly(message, dns.RcodeFormatError)
	}

	q = &query{msg: m, tcp: tcp, limit: plainUDP}
	opt := m.IsEdns0()
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	if opt != nil {
		m.Extra = []dns.RR{opt}
		q.limit = min(max(int(opt.UDPSize()), plainUDP), maxDatagram)
		opt.SetUDPSize(uint16(q.limit))
	}

	if tcp {
		q.limit = maxMessage
	}

	if opt != nil && opt.Version() != 0 {
		return nil, q.answer(dns.RcodeBadVers)
	}

	return q, nil
}

// headerOnly returns a response without a question, to a query that cannot be parsed.
func headerOnly(message []byte, code int) []byte {
	answer := make([]byte, headerSize)
	copy(answer, message[:4])
	answer[2] |= 0x80
	answer[3] = byte(code)
	return answer
}

// local responds to questions about container names, and returns nil for other names. A name in the
// zone has no records elsewhere.
func (r *Resolver) local(q *query) []byte {
	question := q.msg.Question[0]
	if question.Qclass != dns.ClassINET {
		return nil
	}

	if question.Qtype == dns.TypePTR {
		return r.reverse(q, question)
	}

	found, known := r.cfg.Names.Lookup(r.cfg.Owner, question.Name, wantOf(question.Qtype))
	if !known {
		return nil
	}
	return q.answer(dns.RcodeSuccess, addressRecords(question, found)...)
}

// wildcard responds to questions about names below a wildcard name of a container, and returns nil for
// other names.
func (r *Resolver) wildcard(q *query) []byte {
	question := q.msg.Question[0]
	if question.Qclass != dns.ClassINET {
		return nil
	}
	found, known := r.cfg.Names.LookupWildcard(r.cfg.Owner, question.Name, wantOf(question.Qtype))
	if !known {
		return nil
	}
	return q.answer(dns.RcodeSuccess, addressRecords(question, found)...)
}

// hidden responds to questions about containers on other networks: a name without dots or an address
// there does not exist for the client. It returns nil for other names.
func (r *Resolver) hidden(q *query) []byte {
	question := q.msg.Question[0]
	if question.Qclass != dns.ClassINET {
		return nil
	}
	hidden := question.Qtype != dns.TypePTR && r.cfg.Names.Registered(question.Name)
	if address, ok := zone.ParseReverse(question.Name); ok && question.Qtype == dns.TypePTR {
		hidden = r.cfg.Names.Assigned(address)
	}
	if !hidden {
		return nil
	}
	return q.answer(dns.RcodeNameError)
}

// wantOf returns the addresses that a question of a type is about.
func wantOf(kind uint16) func(netip.Addr) bool {
	switch kind {
	case dns.TypeA:
		return netip.Addr.Is4
	case dns.TypeAAAA:
		return netip.Addr.Is6
	case dns.TypeANY:
		return netip.Addr.IsValid
	}
	return func(netip.Addr) bool { return false }
}

func addressRecord(question dns.Question, a netip.Addr) dns.RR {
	header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: ttl}
	if a.Is4() {
		header.Rrtype = dns.TypeA
		return &dns.A{Hdr: header, A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header, AAAA: a.AsSlice()}
}

// reverse responds to PTR questions about container addresses, and returns nil for other addresses.
func (r *Resolver) reverse(q *query, question dns.Question) []byte {
	address, ok := zone.ParseReverse(question.Name)
	if !ok {
		return nil
	}

	name, ok := r.cfg.Names.Reverse(r.cfg.Owner, address)
	if !ok {
		return nil
	}

	return q.answer(dns.RcodeSuccess, &dns.PTR{Ptr: dns.Fqdn(name),
		Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}})
}

func (q *query) refused() []byte { return q.answer(dns.RcodeRefused) }

// answer returns a response that fits the client's limits.
func (q *query) answer(code int, records ...dns.RR) []byte {
	m := new(dns.Msg).SetReply(q.msg)
	m.RecursionAvailable, m.Compress, m.Answer = true, true, records
	m.Rcode = code
	q.setEDNS(m)

	m.Truncate(q.limit)
	data, err := m.Pack()
	if err != nil { // the name is not valid in DNS
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		data, _ = m.Pack()
	}

	return data
}

// truncated returns an empty response with TC set, so that the client retries over TCP.
func (q *query) truncated(code int) []byte {
	m := new(dns.Msg).SetReply(q.msg)
	m.RecursionAvailable, m.Truncated, m.Rcode = true, true, code
	q.setEDNS(m)
	data, _ := m.Pack()
	return data
}

// setEDNS adds the EDNS record of a response to a query that has one.
func (q *query) setEDNS(m *dns.Msg) {
	if opt := q.msg.IsEdns0(); opt != nil {
		m.SetEdns0(maxDatagram, opt.Do())
	}
}

// sameQuestion reports whether a message is a response with the given question.
func sameQuestion(answer []byte, question dns.Question) bool {
	return len(answer) >= headerSize && answer[2]&0x80 != 0 && binary.BigEndian.Uint16(answer[4:]) == 1 &&
		hasQuestion(answer, question)
}

// hasQuestion reports whether the first question of a message equals question.
func hasQuestion(message []byte, question dns.Question) bool {
	name, at, err := dns.UnpackDomainName(message, headerSize)
	if err != nil || len(message) < at+4 {
		return false
	}
	return strings.EqualFold(name, question.Name) && binary.BigEndian.Uint16(message[at:]) == question.Qtype &&
		binary.BigEndian.Uint16(message[at+2:]) == question.Qclass
}

// readMessage reads a message with a length prefix, as used over TCP.
func readMessage(from io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, errors.New("message too long")
	}
	message := make([]byte, n)
	_, err := io.ReadFull(from, message)
	return message, err
}

// writeMessage writes the length and the message in one segment.
func writeMessage(to net.Conn, message []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)),
		uint16(len(message))), message...))
	return err
}
