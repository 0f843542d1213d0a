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
	plainUDP    = 512  // what everybody takes
	maxDatagram = 4096 // the longest by UDP, whatever an asker takes: for each that is on its way there is a buffer
	maxMessage  = 65535
	maxQuestion = 4096 // what we read of a question; the longest that makes sense has a few hundred
)

// ttl is for how long a container may believe a name of ours, in seconds. Docker's number.
const ttl = 600

// query is one question that was understood.
type query struct {
	msg   *dns.Msg // with exactly one question, no answers, and EDNS at most in the rest
	limit int      // how long the answer may be
	tcp   bool
}

// parse reads a question. Without one, refusal is what to answer to such a thing; nil means nothing at all.
func parse(message []byte, tcp bool) (q *query, refusal []byte) {
	const response, opcode = 0x80, 0x78 // bits of the header's third byte
	if len(message) < headerSize || message[2]&response != 0 {
		return nil, nil // an answer to an answer would never end
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

// headerOnly is an answer of a header only, to what cannot be understood.
func headerOnly(message []byte, code int) []byte {
	answer := make([]byte, headerSize)
	copy(answer, message[:4])
	answer[2] |= 0x80
	answer[3] = byte(code)
	return answer
}

// local answers for names of ours, nil for others. Of a name that is known everything is known: what there is no record of does not
// exist anywhere. A name without dots, or an address, of a network that is not the asker's does not exist for it.
func (r *Resolver) local(q *query) []byte {
	question := q.msg.Question[0]
	if question.Qclass != dns.ClassINET {
		return nil
	}
	if question.Qtype == dns.TypePTR {
		return r.reverse(q, question)
	}
	want := func(netip.Addr) bool { return false }
	switch question.Qtype {
	case dns.TypeA:
		want = netip.Addr.Is4
	case dns.TypeAAAA:
		want = netip.Addr.Is6
	case dns.TypeANY:
		want = netip.Addr.IsValid
	}
	found, known := r.cfg.Names.Lookup(r.cfg.Owner, question.Name, want)
	switch {
	case !known && r.cfg.Names.Registered(question.Name):
		return q.answer(dns.RcodeNameError) // on a network that is not the asker's. Servers outside are not told of it
	case !known:
		return nil
	}
	var records []dns.RR
	for _, a := range found {
		records = append(records, addressRecord(question, a))
	}
	return q.answer(dns.RcodeSuccess, records...)
}

func addressRecord(question dns.Question, a netip.Addr) dns.RR {
	header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET, Ttl: ttl}
	if a.Is4() {
		header.Rrtype = dns.TypeA
		return &dns.A{Hdr: header, A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header, AAAA: a.AsSlice()}
}

func (r *Resolver) reverse(q *query, question dns.Question) []byte {
	address, ok := zone.ParseReverse(question.Name)
	if !ok {
		return nil
	}
	name, ok := r.cfg.Names.Reverse(r.cfg.Owner, address)
	switch {
	case !ok && r.cfg.Names.Assigned(address):
		return q.answer(dns.RcodeNameError)
	case !ok:
		return nil
	}
	return q.answer(dns.RcodeSuccess, &dns.PTR{Ptr: dns.Fqdn(name),
		Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}})
}

func (q *query) refused() []byte { return q.answer(dns.RcodeRefused) }

// answer makes an answer that the asker can take.
func (q *query) answer(code int, records ...dns.RR) []byte {
	m := new(dns.Msg).SetReply(q.msg)
	m.RecursionAvailable, m.Compress, m.Answer = true, true, records
	m.Rcode = code
	if opt := q.msg.IsEdns0(); opt != nil {
		m.SetEdns0(maxDatagram, false)
	}
	m.Truncate(q.limit)
	data, err := m.Pack()
	if err != nil { // a name that DNS cannot carry
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		data, _ = m.Pack()
	}
	return data
}

// truncated says that the answer is too long for UDP, so that the asker asks by TCP.
func (q *query) truncated(code int) []byte {
	m := new(dns.Msg).SetReply(q.msg)
	m.RecursionAvailable, m.Truncated, m.Rcode = true, true, code
	data, _ := m.Pack()
	return data
}

// sameQuestion tells whether an answer is to a question: it says again what was asked.
func sameQuestion(answer []byte, question dns.Question) bool {
	return len(answer) >= headerSize && answer[2]&0x80 != 0 && binary.BigEndian.Uint16(answer[4:]) == 1 && hasQuestion(answer, question)
}

// hasQuestion tells whether a message's first question is that one, in full.
func hasQuestion(message []byte, question dns.Question) bool {
	name, at, err := dns.UnpackDomainName(message, headerSize)
	if err != nil || len(message) < at+4 {
		return false
	}
	return strings.EqualFold(name, question.Name) && binary.BigEndian.Uint16(message[at:]) == question.Qtype &&
		binary.BigEndian.Uint16(message[at+2:]) == question.Qclass
}

// readMessage reads a message with its length in front, as TCP has it.
func readMessage(from io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, errors.New("too long a message")
	}
	message := make([]byte, n)
	_, err := io.ReadFull(from, message)
	return message, err
}

// writeMessage writes length and message in one segment.
func writeMessage(to net.Conn, message []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)), uint16(len(message))), message...))
	return err
}
