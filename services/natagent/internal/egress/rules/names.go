package rules

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/proto/id"
)

// Names in the kernel.
const (
	TableName    = "fairlead-egress"      // of both tables
	CopyName     = "fairlead-egress-copy" // of their copies, while they are written again
	chainRefused = "refused"
	mapVia       = "via"
	mapPolicies  = "policies"
	mapIngress   = "ingress"
	setLimited   = "limited"
	setHeld      = "held"
	setGuarded   = "guarded"
	// maxComment is the longest comment of a rule that nft accepts.
	maxComment = 127
)

// Kinds of sets of a container.
const (
	setStatic = "static" // destinations
	setNames  = "names"  // learned destinations
	setFrom   = "from"   // sources
)

// setName returns the name of a set of a container. generation makes the names of a new policy differ
// from those it replaces.
func setName(short string, generation uint64, group int, kind string, v6 bool) string {
	return fmt.Sprintf("%s_%d_%s%d_%d", short, generation, kind, group, version(v6))
}

// ParseLearned returns the short container ID and the group of a set of learned addresses.
func ParseLearned(name string) (short string, group int, ok bool) {
	var generation uint64
	var family int
	short, rest, _ := strings.Cut(name, "_")
	n, _ := fmt.Sscanf(rest, "%d_"+setNames+"%d_%d", &generation, &group, &family)
	return short, group, n == 3
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

// chainName returns the name of a container's chain.
func chainName(owner string, generation uint64) string {
	return fmt.Sprintf("%s_%d", id.Short(owner), generation)
}

// ingressChainName returns the name of a container's chain for incoming traffic.
func ingressChainName(owner string, generation uint64) string {
	return chainName(owner, generation) + "_in"
}
