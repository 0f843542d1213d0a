package rules

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// macLength is the length of an Ethernet address.
const macLength = 6

// Offsets in an Ethernet header.
const (
	offsetTo   = 0
	offsetFrom = macLength
)

// ethernet loads an address of the frame.
func ethernet(offset uint32) expr.Any {
	return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseLLHeader, Offset: offset, Len: macLength}
}

// bridgeOf replaces the address in register 1 by that of the container's bridge, or does not match.
func bridgeOf() expr.Any {
	return &expr.Lookup{SourceRegister: reg1, SetName: mapVia, DestRegister: reg1, IsDestRegSet: true}
}

// hasProtocol matches an Ethernet protocol, or all others.
func hasProtocol(number uint16, op expr.CmpOp) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyPROTOCOL, reg1),
		&expr.Cmp{Op: op, Register: reg1, Data: binary.BigEndian.AppendUint16(nil, number)}}
}

// redirect sends a frame to the bridge itself, so that the host routes it: the frame gets the address
// in register 1.
func redirect() []expr.Any {
	return []expr.Any{
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: reg1, Base: expr.PayloadBaseLLHeader,
			Offset: offsetTo, Len: macLength},
		&expr.Immediate{Register: reg1, Data: []byte{unix.PACKET_HOST}},
		&expr.Meta{Key: expr.MetaKeyPKTTYPE, SourceRegister: true, Register: reg1},
		count(),
	}
}

// bridgeRules returns the rules for frames. Containers of a bridge reach each other without the host's
// IP layer; frames from and to a container with a policy are sent there. Both directions must pass,
// as the connection would be unknown otherwise.
func bridgeRules() []Rule {
	from := []expr.Any{ethernet(offsetFrom), bridgeOf()}
	limited := []expr.Any{ethernet(offsetFrom), &expr.Lookup{SourceRegister: reg1, SetName: setLimited}}
	to := []expr.Any{ethernet(offsetTo), bridgeOf()}
	group := []expr.Any{ethernet(offsetTo),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: macLength, Mask: []byte{1, 0, 0, 0, 0, 0},
			Xor: make([]byte, macLength)}, differ(make([]byte, macLength)...)}

	rules := append(addressResolution(),
		Rule{"from containers whose policy is not in force yet", held(offsetFrom)},
		Rule{"multicast and broadcast of containers with a policy", join(limited, group, drop())})
	for _, number := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} {
		rules = append(rules,
			Rule{"from containers with a policy, through the host", join(hasProtocol(number, expr.CmpOpEq), from,
				redirect())},
			Rule{"to containers with a policy, through the host", join(hasProtocol(number, expr.CmpOpEq), to,
				redirect())})
	}

	other := append(hasProtocol(unix.ETH_P_IP, expr.CmpOpNeq), hasProtocol(unix.ETH_P_IPV6, expr.CmpOpNeq)...)
	return append(rules, Rule{"other protocols of containers with a policy", join(other, limited, drop())})
}

// enterRules returns the rules for frames to containers.
func enterRules() []Rule {
	other := append(hasProtocol(unix.ETH_P_IP, expr.CmpOpNeq), hasProtocol(unix.ETH_P_IPV6, expr.CmpOpNeq)...)
	guarded := []expr.Any{ethernet(offsetTo), &expr.Lookup{SourceRegister: reg1, SetName: setGuarded}}
	return append(addressResolution(),
		Rule{"to containers whose policy is not in force yet", held(offsetTo)},
		Rule{"other protocols to containers with an ingress policy", join(other, guarded, drop())})
}

// addressResolution returns the rules that accept ARP and neighbour discovery.
func addressResolution() []Rule {
	return []Rule{
		{"ARP", join(hasProtocol(unix.ETH_P_ARP, expr.CmpOpEq), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})},
		neighbourRule(),
	}
}

// held drops frames of interfaces whose container's policy is not in force yet.
func held(offset uint32) []expr.Any {
	return join([]expr.Any{ethernet(offset), &expr.Lookup{SourceRegister: reg1, SetName: setHeld}}, drop())
}

// BridgeChains returns the chains of the bridge table with their rules. prerouting comes before the lookup
// of the port.
func BridgeChains(t *nftables.Table) (chains []*nftables.Chain, rules [][]Rule) {
	for _, c := range []struct {
		name  string
		hook  *nftables.ChainHook
		rules []Rule
	}{
		{"prerouting", nftables.ChainHookPrerouting, bridgeRules()},
		{"postrouting", nftables.ChainHookPostrouting, enterRules()},
	} {
		chains = append(chains, baseChain(t, c.name, c.hook, nftables.ChainPriorityNATDest))
		rules = append(rules, c.rules)
	}
	return chains, rules
}
