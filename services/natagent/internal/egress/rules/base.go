package rules

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// BaseRules returns the rules of the chains that do not belong to one container. A container is
// recognized by its MAC address, which the port guard enforces: it can have addresses that netagent
// has not assigned, such as a link-local one.
func BaseRules(kind QueueKind) map[string][]Rule {
	start := append(knownRules(), neighbourRule())
	from := []expr.Any{meta(expr.MetaKeyIIFTYPE, reg1),
		equal(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)...), ethernet(offsetFrom), chainOf(mapPolicies)}
	start = append(start, Rule{"containers with a policy", from})
	in := incomingRules()
	all := map[string][]Rule{
		"forward":         start,
		"input":           start,
		"forward-ingress": append(known(), in...),
		"output":          append(append(knownRules(), neighbourRule()), in...),
		chainChecked:      checkedRules(kind),
		chainRefused:      refusedRules(),
	}
	for _, c := range verdictChains() {
		all[c.Name] = c.Rules
	}
	return all
}

// chainOf continues with the chain of the container whose key is in register 1.
func chainOf(set string) expr.Any {
	return &expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

// refusedRules returns the rules of the chain that rejects packets.
func refusedRules() []Rule {
	return []Rule{
		{"end of a TCP connection", []expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_TCP),
			&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}},
		{"administratively prohibited", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH,
			Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}},
	}
}

// incomingRules returns the rules that find the chain for incoming traffic of a container, by its address.
func incomingRules() (rules []Rule) {
	for _, f := range families() {
		rules = append(rules, Rule{"to containers with a policy", join(f.only(), []expr.Any{network(f.daddr, f.length),
			chainOf(sharedSet(mapIngress, f.v6))})})
	}
	return rules
}

// BaseChains returns the chains that do not belong to one container. Targets of jumps come first. What
// the sender's policy allows passes the receiver's in a chain of its own.
func BaseChains(t *nftables.Table) (all []*nftables.Chain) {
	all = append(all, &nftables.Chain{Name: chainRefused, Table: t}, &nftables.Chain{Name: chainChecked, Table: t})
	for _, c := range verdictChains() {
		all = append(all, &nftables.Chain{Name: c.Name, Table: t})
	}
	for _, c := range []struct {
		name string
		hook *nftables.ChainHook
		late nftables.ChainPriority
	}{
		{"forward", nftables.ChainHookForward, 0}, {"input", nftables.ChainHookInput, 0},
		{"forward-ingress", nftables.ChainHookForward, 1}, {"output", nftables.ChainHookOutput, 1},
	} {
		all = append(all, baseChain(t, c.name, c.hook,
			nftables.ChainPriorityRef(*nftables.ChainPriorityFilter-10+c.late)))
	}
	return all
}

// TableChain is a chain with its table and rules.
type TableChain struct {
	*nftables.Chain
	Rules []Rule
}

// baseChain returns a chain with a hook, which accepts what its rules do not decide.
func baseChain(t *nftables.Table, name string, hook *nftables.ChainHook,
	priority *nftables.ChainPriority) *nftables.Chain {
	policy := nftables.ChainPolicyAccept
	return &nftables.Chain{Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority,
		Policy: &policy}
}

// known accepts packets of connections that were looked at already, and neighbour discovery.
func known() []Rule {
	pass := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	all := append([]Rule{{"known connections", join(established(), pass)}}, errorRules()...)
	return append(all, neighbourRule())
}

// neighbourRule accepts neighbour discovery.
func neighbourRule() Rule {
	return Rule{"neighbour discovery", join(neighbours(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})}
}
