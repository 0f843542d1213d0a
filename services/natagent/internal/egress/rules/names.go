package rules

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// Names in the kernel.
const (
	TableName    = "fairlead-egress"      // of both tables
	CopyName     = "fairlead-egress-copy" // of their copies, while they are written again
	chainRefused = "refused"
	mapVia       = "via"
	mapPolicies  = "policies"
	mapIngress   = "ingress"
	setRefused   = "refused"  // containers, with the packets that their policies refused
	setRecorded  = "recorded" // containers whose refusals were recorded in the last minute
	setLimited   = "limited"
	setHeld      = "held"
	setGuarded   = "guarded"
	// maxComment is the longest comment of a rule that nft accepts.
	maxComment = 127
)

// Kinds of sets of a policy.
const (
	setStatic = "static" // destinations
	setNames  = "names"  // learned destinations
	setFrom   = "from"   // sources
)

// setName returns the name of a set of a chain.
func setName(chain string, group int, kind string, v6 bool) string {
	return fmt.Sprintf("%s_%s%d_%d", chain, kind, group, version(v6))
}

// ParseLearned returns the chain and the group of a set of learned addresses.
func ParseLearned(set string) (chain string, group int, ok bool) {
	at := strings.LastIndex(set, "_"+setNames)
	if at < 0 {
		return "", 0, false
	}
	var family int
	n, _ := fmt.Sscanf(set[at:], "_"+setNames+"%d_%d", &group, &family)
	return set[:at], group, n == 2
}

// peerSet returns the name of the set of a container, network or label, which all policies share.
func peerSet(peer string, v6 bool) string {
	sum := sha256.Sum256([]byte(peer))
	return fmt.Sprintf("peer_%x_%d", sum[:8], version(v6))
}

func version(v6 bool) int {
	if v6 {
		return 6
	}
	return 4
}

// sharedSet returns the name of a set of all containers.
func sharedSet(name string, v6 bool) string { return fmt.Sprintf("%s%d", name, version(v6)) }

// ChainName returns the name of the chain for the rules of a container, "" without rules for a direction.
func ChainName(p *plan.Plan, d Direction) string {
	name, rules := "out", p.Rules
	if d == Incoming {
		name, rules = "in", p.Ingress
	}
	if len(rules) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(rules, ",")))
	return fmt.Sprintf("%s_%x", name, sum[:12])
}
