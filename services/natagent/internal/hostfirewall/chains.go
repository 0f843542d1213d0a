// Package hostfirewall reads what the host's own firewall says of connections to the host itself: ufw, firewalld, or rules that an
// administrator has written for iptables or nft. A published port does not pass there, as it is led on to a container before; so
// whoever closes a port there and publishes it may be in for a surprise, and can be told.
//
// It says that something is closed only where that is certain. A rule whose conditions it does not understand may match or not.
package hostfirewall

import "fmt"

// Block is a chain that drops a packet for sure.
type Block struct {
	Family, Table, Chain string
	Policy               bool // no rule of it decides, so that its policy does
}

// String says so for people.
func (c Block) String() string {
	by := "a rule of"
	if c.Policy {
		by = "the policy of"
	}
	return fmt.Sprintf("the host's own firewall is closed there, by %s %s %s %s", by, c.Family, c.Table, c.Chain)
}

// tristate is whether a condition holds.
type tristate int

const (
	no tristate = iota
	maybe
	yes
)

// of is the answer to what is known.
func of(holds bool) tristate {
	if holds {
		return yes
	}
	return no
}

// not turns an answer round.
func (a tristate) not() tristate { return yes - a }

// condition is one part of a rule.
type condition func(p Packet) tristate

// The verdicts of rules.
const (
	accept = "accept"
	drop   = "drop"
	back   = "return"
	jump   = "jump"
	leap   = "goto"
)

// rule is a rule that has a verdict. Those that only watch are left out.
type rule struct {
	conditions []condition
	verdict    string
	target     string // of jump and goto
}

func (r rule) matches(p Packet) tristate {
	all := yes
	for _, c := range r.conditions {
		all = min(all, c(p))
	}
	return all
}

// chain is a chain of rules. Only those that the kernel calls itself have a policy.
type chain struct {
	base   bool
	policy string // accept or drop
	rules  []rule
}

// table is a table's chains, by name.
type table struct {
	family, name string
	chains       map[string]*chain
}

// closed finds a chain of the table that drops a packet for sure.
func (t table) closed(p Packet) (Block, bool) {
	for name, c := range t.chains {
		if !c.base {
			continue
		}
		out := t.follow(name, p, 0)
		if out.through && c.policy == drop && !out.accepted {
			return Block{t.family, t.name, name, true}, true
		}
		if !out.through && !out.accepted {
			return Block{t.family, t.name, name, false}, true
		}
	}
	return Block{}, false
}

// outcome is what may become of a packet in a chain.
type outcome struct {
	accepted bool // it may be
	through  bool // it may come to the chain's end, or return
}

const deepest = 16 // chains within chains, as the kernel has it

func (t table) follow(name string, p Packet, depth int) (out outcome) {
	c := t.chains[name]
	if c == nil || depth > deepest {
		return outcome{accepted: true, through: true} // who knows
	}
	for _, r := range c.rules {
		sure := r.matches(p)
		if sure == no {
			continue
		}
		ends := sure == yes
		switch r.verdict {
		case accept:
			out.accepted = true
		case drop:
		case back:
			out.through = true
		case jump, leap:
			in := t.follow(r.target, p, depth+1)
			out.accepted = out.accepted || in.accepted
			out.through = out.through || r.verdict == leap && in.through
			ends = ends && (r.verdict == leap || !in.through)
		}
		if ends {
			return out
		}
	}
	out.through = true
	return out
}
