// Package hostfirewall inspects the host firewall (INPUT rules of ufw, firewalld or the
// administrator) for rules that block connections to published ports. DNAT bypasses these rules, so
// that publishing a blocked port opens it, contrary to the administrator's intent. Package publish
// warns about that or refuses it.
//
// A port counts as blocked only if that is certain: a rule with unsupported conditions may or may
// not match.
package hostfirewall

import "fmt"

// Block is a chain that certainly drops a packet.
type Block struct {
	Family, Table, Chain string
	Policy               bool // by its policy, not by a rule
}

// String returns a human-readable description.
func (c Block) String() string {
	by := "a rule of"
	if c.Policy {
		by = "the policy of"
	}
	return fmt.Sprintf("blocked in the host firewall by %s %s %s %s", by, c.Family, c.Table, c.Chain)
}

// tristate states whether a condition holds.
type tristate int

const (
	no tristate = iota
	maybe
	yes
)

// of converts a known result.
func of(holds bool) tristate {
	if holds {
		return yes
	}
	return no
}

// not negates the state.
func (a tristate) not() tristate { return yes - a }

// condition is one condition of a rule.
type condition func(p Packet) tristate

// Verdicts of rules.
const (
	accept = "accept"
	drop   = "drop"
	back   = "return"
	jump   = "jump"
	leap   = "goto"
)

// rule is a rule with a verdict. Rules without one, such as counters, are omitted.
type rule struct {
	conditions []condition
	verdict    string
	target     string // for jump and goto
}

func (r rule) matches(p Packet) tristate {
	all := yes
	for _, c := range r.conditions {
		all = min(all, c(p))
	}
	return all
}

// chain is a chain of rules. Only base chains have a policy.
type chain struct {
	base   bool
	policy string // accept or drop
	rules  []rule
}

// table holds a table's chains by name.
type table struct {
	family, name string
	chains       map[string]*chain
}

// closed returns a base chain of the table that certainly drops a packet.
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

// outcome describes what can happen to a packet in a chain.
type outcome struct {
	accepted bool // it can be accepted
	through  bool // it can reach the chain's end or return
}

const maxDepth = 16 // the kernel's limit for nested chains

func (t table) follow(name string, p Packet, depth int) (out outcome) {
	c := t.chains[name]
	if c == nil || depth > maxDepth {
		return outcome{accepted: true, through: true} // unknown
	}

	for _, r := range c.rules {
		matches := r.matches(p)
		if matches == no {
			continue
		}
		ends := matches == yes
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
