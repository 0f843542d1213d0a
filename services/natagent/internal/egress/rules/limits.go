package rules

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// LimitsName is the name of both tables with limits. They are apart from those with policies, as a chain
// that is written again forgets the connections that it counts.
const LimitsName = "fairlead-limits"

// Maps of the tables with limits.
const (
	mapFrom = "from" // containers by MAC address
	mapTo   = "to"   // containers by address, or by MAC address for packets
	mapSent = "sent" // containers by MAC address, for bytes
)

// connlimitOver makes the expression match above its limit.
const connlimitOver = 1

// LimitTables are the tables with limits.
type LimitTables struct{ Inet, Bridge *nftables.Table }

// Base returns what does not belong to one container. Targets of jumps come first.
func (t LimitTables) Base() (chains []TableChain, sets []Set) {
	chains = append(chains, TableChain{&nftables.Chain{Name: chainRefused, Table: t.Inet}, refusedRules()})
	from, to := t.fromRule(), t.toRules()
	for _, c := range []struct {
		name  string
		hook  *nftables.ChainHook
		rules []Rule
	}{
		{"forward", nftables.ChainHookForward, append(append(known(), from), to...)},
		{"input", nftables.ChainHookInput, append(known(), from)},
		{"output", nftables.ChainHookOutput, append(known(), to...)},
	} { // after the policies: what they refuse does not count
		chains = append(chains, TableChain{baseChain(t.Inet, c.name, c.hook,
			nftables.ChainPriorityRef(*nftables.ChainPriorityFilter-5)), c.rules})
	}
	for _, c := range []struct {
		name   string
		hook   *nftables.ChainHook
		offset uint32
		set    string
	}{
		{"prerouting", nftables.ChainHookPrerouting, offsetFrom, mapFrom},
		{"postrouting", nftables.ChainHookPostrouting, offsetTo, mapTo},
	} {
		list := append(addressResolution(),
			Rule{"containers with a limit of packets", []expr.Any{ethernet(c.offset), verdictOf(c.set)}})
		if c.set == mapFrom { // of all frames, as the limit in the container is
			list = append([]Rule{{"containers with a limit of bandwidth", []expr.Any{ethernet(c.offset),
				verdictOf(mapSent)}}}, list...)
		}
		chains = append(chains, TableChain{baseChain(t.Bridge, c.name, c.hook,
			nftables.ChainPriorityRef(*nftables.ChainPriorityNATDest-1)), list})
	}

	sets = append(sets, Set{verdicts(t.Inet, mapFrom, nftables.TypeEtherAddr), nil})
	for _, f := range families() {
		sets = append(sets, Set{verdicts(t.Inet, sharedSet(mapTo, f.v6), f.address), nil})
	}
	for _, name := range []string{mapFrom, mapTo, mapSent} {
		sets = append(sets, Set{verdicts(t.Bridge, name, nftables.TypeEtherAddr), nil})
	}
	return chains, sets
}

// fromRule finds the chain of a container that opens a connection.
func (t LimitTables) fromRule() Rule {
	return Rule{"from containers with a limit of connections", []expr.Any{
		meta(expr.MetaKeyIIFTYPE, reg1), equal(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)...),
		ethernet(offsetFrom), verdictOf(mapFrom)}}
}

// toRules find the chain of a container that a connection is opened to.
func (t LimitTables) toRules() (all []Rule) {
	for _, f := range families() {
		all = append(all, Rule{"to containers with a limit of connections", join(f.only(),
			[]expr.Any{network(f.daddr, f.length), verdictOf(sharedSet(mapTo, f.v6))})})
	}
	return all
}

func verdictOf(set string) expr.Any {
	return &expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

func verdicts(t *nftables.Table, name string, key nftables.SetDatatype) *nftables.Set {
	return &nftables.Set{Table: t, Name: name, KeyType: key, IsMap: true, DataType: nftables.TypeVerdict,
		KeyByteOrder: binaryutil.BigEndian, Comment: "container -> its limit"}
}

// connectionsChain returns the name of a chain. It has the limit: a chain with the name is right.
func connectionsChain(s plan.Scope) string {
	return fmt.Sprintf("%s_connections_%d", s.Name, s.Limits.Connections)
}

func packetsChain(s plan.Scope, direction string, rate uint32) string {
	return fmt.Sprintf("%s_packets_%s_%d", s.Name, direction, rate)
}

func bytesChain(s plan.Scope) string { return fmt.Sprintf("%s_bytes_out_%d", s.Name, s.BytesOut) }

// Chains returns the chains of a container.
func (t LimitTables) Chains(c *plan.Container) (all []TableChain) {
	for _, s := range c.Scopes() {
		all = append(all, t.chains(s)...)
	}
	return all
}

// chains returns the chains of a scope. Both directions share the chain that counts connections.
func (t LimitTables) chains(s plan.Scope) (all []TableChain) {
	if n := s.Limits.Connections; n > 0 {
		name := connectionsChain(s)
		over := name + "_over"
		b := &chainBuilder{owner: s.Owner}
		b.refuse("more connections than the limit", egress.ReasonConnections, nil)
		all = append(all, TableChain{&nftables.Chain{Name: over, Table: t.Inet}, b.rules},
			TableChain{&nftables.Chain{Name: name, Table: t.Inet}, []Rule{{"connections above the limit",
				[]expr.Any{&expr.Connlimit{Count: n, Flags: connlimitOver},
					&expr.Verdict{Kind: expr.VerdictGoto, Chain: over}}}}})
	}
	for direction, rate := range packetRates(s) {
		all = append(all, TableChain{&nftables.Chain{Name: packetsChain(s, direction, rate), Table: t.Bridge},
			[]Rule{{"packets above the limit", join([]expr.Any{overRate(rate)}, drop())}}})
	}
	if s.BytesOut > 0 {
		all = append(all, TableChain{&nftables.Chain{Name: bytesChain(s), Table: t.Bridge},
			[]Rule{{"bytes above the limit", join([]expr.Any{overBytes(s.BytesOut)}, drop())}}})
	}
	return all
}

// packetRates returns the limits of packets of a scope by direction.
func packetRates(s plan.Scope) map[string]uint32 {
	rates := map[string]uint32{}
	if s.Limits.Packets.In > 0 {
		rates["in"] = s.Limits.Packets.In
	}
	if s.Limits.Packets.Out > 0 {
		rates["out"] = s.Limits.Packets.Out
	}
	return rates
}

// burstShare is the part of a second whose packets can pass together.
const burstShare = 20

// overRate matches packets above a rate.
func overRate(rate uint32) expr.Any {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(rate), Unit: expr.LimitTimeSecond, Over: true,
		Burst: max(rate/burstShare, 1)}
}

// overBytes matches bytes above a rate. The kernel lets the bytes of a second pass together, which the limit in the
// container does not.
func overBytes(rate uint64) expr.Any {
	return &expr.Limit{Type: expr.LimitTypePktBytes, Rate: rate, Unit: expr.LimitTimeSecond, Over: true}
}

// Elements returns the elements of a container.
func (t LimitTables) Elements(c *plan.Container) (all []Set) {
	for _, s := range c.Scopes() {
		all = append(all, t.elements(s)...)
	}
	return all
}

func (t LimitTables) elements(s plan.Scope) (all []Set) {
	add := func(set *nftables.Set, chain string, keys [][]byte) {
		one := Set{Set: set}
		for _, key := range keys {
			one.Elements = append(one.Elements, nftables.SetElement{Key: key,
				VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: chain}})
		}
		if len(keys) > 0 {
			all = append(all, one)
		}
	}

	if s.Limits.Connections > 0 {
		add(verdicts(t.Inet, mapFrom, nftables.TypeEtherAddr), connectionsChain(s), s.MACs())
		for _, f := range families() {
			add(verdicts(t.Inet, sharedSet(mapTo, f.v6), f.address), connectionsChain(s), s.AddressesOf(f.v6))
		}
	}
	for direction, rate := range packetRates(s) {
		set := mapTo
		if direction == "out" {
			set = mapFrom
		}
		add(verdicts(t.Bridge, set, nftables.TypeEtherAddr), packetsChain(s, direction, rate), s.MACs())
	}
	if s.BytesOut > 0 {
		add(verdicts(t.Bridge, mapSent, nftables.TypeEtherAddr), bytesChain(s), s.MACs())
	}
	return all
}
