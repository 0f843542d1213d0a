package hostfirewall

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"github.com/fairlead/fairlead/proto/port"
)

// matchOf converts an iptables match. Unknown matches may or may not match.
func matchOf(e *expr.Match) condition {
	switch info := e.Info.(type) {
	case *xt.Comment:
		return func(Packet) tristate { return yes }
	case *xt.Tcp:
		return ports(port.TCP, info.SrcPorts, info.DstPorts, info.InvFlags&xt.TcpInvDestPorts != 0,
			info.Option == 0 && info.InvFlags&^xt.TcpInvDestPorts == 0 && flagsOfFirst(info))
	case *xt.Udp:
		return ports(port.UDP, info.SrcPorts, info.DstPorts, info.InvFlags&xt.UdpInvDestPorts != 0,
			info.InvFlags&^xt.UdpInvDestPorts == 0)
	case *xt.AddrTypeV1:
		return addressType(info)
	case *xt.ConntrackMtinfo1:
		return tracked(info.MatchFlags, info.InvertFlags, uint16(info.StateMask))
	case *xt.ConntrackMtinfo2:
		return tracked(info.MatchFlags, info.InvertFlags, info.StateMask)
	case *xt.ConntrackMtinfo3:
		return tracked(info.MatchFlags, info.InvertFlags, info.StateMask)
	case *xt.Unknown:
		switch {
		case e.Name == "multiport" && e.Rev == 1:
			return multiport(*info)
		case e.Name == "state" && len(*info) >= 4:
			return tracked(uint16(xt.ConntrackState), 0, uint16(binary.NativeEndian.Uint32(*info)))
		case e.Name == "icmp", e.Name == "icmp6":
			return func(Packet) tristate { return no }
		}
	}

	return unknown
}

// flagsOfFirst reports whether a SYN packet has the TCP flags of a rule.
func flagsOfFirst(info *xt.Tcp) bool {
	const syn = 2
	return syn&info.FlagsMask == info.FlagsCmp
}

// ports matches the ports of a transport. With other conditions (rest is false) it returns maybe at
// most.
func ports(proto port.Protocol, from, to [2]uint16, negated, rest bool) condition {
	return func(p Packet) tristate {
		in := to[0] <= p.Target.Port() && p.Target.Port() <= to[1]
		switch {
		case p.Protocol != proto, in == negated:
			return no
		case !rest || from != [2]uint16{0, 0xffff}:
			return maybe
		}
		return yes
	}
}

func addressType(info *xt.AddrTypeV1) condition {
	const invertSource, invertDest = 1, 2
	if info.Source != 0 || info.Flags&^(invertSource|invertDest) != 0 || info.Dest == 0 {
		return unknown
	}
	return func(Packet) tristate {
		return of((info.Dest&(1<<typeLocal) != 0) == (info.Flags&invertDest == 0))
	}
}

// tracked matches the conntrack state new.
func tracked(match, invert, states uint16) condition {
	if match != uint16(xt.ConntrackState) && match != uint16(xt.ConntrackState|xt.ConntrackStateAlias) {
		return unknown
	}
	return func(Packet) tristate {
		return of((states&stateNew != 0) == (invert&uint16(xt.ConntrackState) == 0))
	}
}

// multiport decodes struct xt_multiport_v1: what is compared, the number of ports, the ports, which
// of them start a range, and whether the match is negated.
func multiport(info []byte) condition {
	const sources, destinations, most = 0, 1, 15
	if len(info) < 2+2*most+most+1 || info[0] == sources || int(info[1]) > most {
		return unknown
	}

	var ranges [][2]uint16
	for i := 0; i < int(info[1]); i++ {
		at := func(i int) uint16 { return binary.NativeEndian.Uint16(info[2+2*i:]) }
		one := [2]uint16{at(i), at(i)}
		if info[2+2*most+i] != 0 && i+1 < int(info[1]) {
			i++
			one[1] = at(i)
		}
		ranges = append(ranges, one)
	}

	negated, either := info[2+3*most] != 0, info[0] != destinations
	return func(p Packet) tristate {
		in := false
		for _, r := range ranges {
			in = in || r[0] <= p.Target.Port() && p.Target.Port() <= r[1]
		}
		if either && !in {
			return maybe // its source port may match
		}
		return of(in != negated)
	}
}
