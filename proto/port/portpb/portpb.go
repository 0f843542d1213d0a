// Package portpb converts the port model to and from the messages of fairlead.nat.v1 and
// fairlead.container.v1. Conversions from messages validate. It contains no policy.
//
// The command line, Go clients and the api packages of the services use it.
package portpb

import (
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
)

// ProtocolFromProto converts a protocol. An unknown one becomes its name in the message, which
// validation rejects.
func ProtocolFromProto(p natv1.Protocol) port.Protocol {
	switch p {
	case natv1.Protocol_PROTOCOL_TCP:
		return port.TCP
	case natv1.Protocol_PROTOCOL_UDP:
		return port.UDP
	case natv1.Protocol_PROTOCOL_SCTP:
		return port.SCTP
	case natv1.Protocol_PROTOCOL_ALL:
		return port.All
	}
	return port.Protocol(p.String())
}

// ProtocolToProto converts a protocol.
func ProtocolToProto(p port.Protocol) natv1.Protocol {
	switch p {
	case port.TCP:
		return natv1.Protocol_PROTOCOL_TCP
	case port.UDP:
		return natv1.Protocol_PROTOCOL_UDP
	case port.SCTP:
		return natv1.Protocol_PROTOCOL_SCTP
	case port.All:
		return natv1.Protocol_PROTOCOL_ALL
	}
	return natv1.Protocol_PROTOCOL_UNSPECIFIED
}

// maxPort is the highest port number. Messages have wider fields.
const maxPort = 65535

// rangeFromProto converts a range. An end of 0 means a single port. ok is false for numbers above
// maxPort; text is the range for messages.
func rangeFromProto(first, end uint32) (r port.Range, text string, ok bool) {
	text = fmt.Sprint(first)
	if end != 0 && end != first {
		text = fmt.Sprintf("%d-%d", first, end)
	}
	if first > maxPort || end > maxPort {
		return r, text, false
	}
	if end == 0 {
		end = first
	}
	return port.Range{First: uint16(first), Last: uint16(end)}, text, true
}

// rangeToProto converts a range. The end of a single port is 0.
func rangeToProto(r port.Range) (first, end uint32) {
	if r.First == r.Last {
		return uint32(r.First), 0
	}
	return uint32(r.First), uint32(r.Last)
}

// addrFromProto parses an address; empty means none.
func addrFromProto(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("invalid IP address: %s", text)
	}
	return addr.Unmap(), nil
}

// addrToProto returns the text of an address, empty for none.
func addrToProto(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// each converts a list. The error is that of the first invalid element.
func each[A, B any](in []A, convert func(A) (B, error)) ([]B, error) {
	var out []B
	for _, a := range in {
		b, err := convert(a)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// all converts a list.
func all[A, B any](in []A, convert func(A) B) []B {
	var out []B
	for _, a := range in {
		out = append(out, convert(a))
	}
	return out
}

func invalid(subject, field string, err error) error {
	return fault.Invalidf(subject, field, "%s", err)
}
