package rules

import (
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Records of refused packets.
const (
	Group      = 1071 // of NFLOG
	recordRate = 100  // records of one container, or of one rule, in a second; the counters count all packets
	SnapLength = 128
)

// Reasons of a record.
const (
	reasonMetadata = egress.ReasonMetadata
	reasonDNS      = egress.ReasonDNS
	reasonRule     = egress.ReasonRule
	reasonPolicy   = egress.ReasonPolicy
	reasonObserve  = refusals.Observed
	reasonQUIC     = egress.ReasonQUIC
)

// markIncoming follows the reason of incoming packets.
const markIncoming = "in"

// anyOne stands for the container in the prefix of a chain that is shared: packets have its address.
const anyOne = "-"

// prefix returns the log prefix of a container and a reason.
func prefix(container, reason string, d Direction) string {
	text := "fairlead " + container + " " + reason
	if d == Incoming {
		text += " " + markIncoming
	}
	return text
}

// ParsePrefix returns the short container ID, the reason and the direction of a record. The ID is "" if the addresses
// of the packet identify the container.
func ParsePrefix(text string) (short, reason string, d Direction, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) < 3 || len(fields) > 4 || fields[0] != "fairlead" {
		return "", "", Outgoing, false
	}
	if short = fields[1]; short == anyOne {
		short = ""
	}
	if len(fields) == 4 && fields[3] != markIncoming {
		return "", "", Outgoing, false
	}
	return short, fields[2], Direction(len(fields) == 4), true
}

// reasons returns the reasons of records in chains that are shared.
func reasons(d Direction) []string {
	all := []string{reasonRule, reasonPolicy, reasonObserve}
	if d == Outgoing {
		all = append(all, reasonMetadata, reasonDNS, reasonQUIC)
	}
	return all
}

// reasonChain returns the chain that records packets, and refuses them unless they are only observed.
func reasonChain(reason string, d Direction) string {
	name := "refused-" + reason
	if reason == reasonObserve {
		name = reason
	}
	return directed(name, d)
}

func directed(name string, d Direction) string {
	if d == Incoming {
		return name + "-" + markIncoming
	}
	return name
}

// verdictChains returns the chains that the policies of all containers share: they count the packets of a container
// that are not allowed, and record some.
func verdictChains() (all []Chain) {
	for _, d := range Directions() {
		for _, reason := range reasons(d) {
			all = append(all, Chain{reasonChain(reason, d), reasonRules(reason, d)})
		}
	}
	return all
}

// reasonRules returns the rules of a reasonChain.
func reasonRules(reason string, d Direction) (all []Rule) {
	if reason != reasonObserve {
		for _, match := range refusedKeys(d) {
			all = append(all, Rule{"packets of the container", match})
		}
	}
	for _, key := range recordKeys(d) {
		all = append(all, Rule{"record", join(key, log(prefix(anyOne, reason, d)))})
	}
	if reason != reasonObserve {
		all = append(all, Rule{"refuse", []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainRefused}}})
	}
	return all
}

// refusedKeys finds the container of a packet in a set of refusedSets, whose element counts it: one alternative for
// each family.
func refusedKeys(d Direction) (all [][]expr.Any) {
	if d == Outgoing {
		return [][]expr.Any{{ethernet(offsetFrom), &expr.Lookup{SourceRegister: reg1, SetName: setRefused}}}
	}
	for _, f := range families() {
		all = append(all, join(f.only(), []expr.Any{network(f.daddr, f.length),
			&expr.Lookup{SourceRegister: reg1, SetName: sharedSet(setRefused, f.v6)}}))
	}
	return all
}

// recordKeys matches at most recordRate packets of a container in a second: one alternative for each family.
func recordKeys(d Direction) (all [][]expr.Any) {
	limit := func(set string) expr.Any {
		return &expr.Dynset{SrcRegKey: reg1, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE,
			Exprs: []expr.Any{rate()}}
	}
	if d == Outgoing {
		return [][]expr.Any{{ethernet(offsetFrom), limit(setRecorded)}}
	}
	for _, f := range families() {
		all = append(all, join(f.only(), []expr.Any{network(f.daddr, f.length), limit(sharedSet(setRecorded, f.v6))}))
	}
	return all
}

// maxRates bounds the containers of a set of rates.
const maxRates = 65535

// rateSet returns a set of containers, each with the rate of some packets. The kernel adds those that send any, and
// forgets them some time after the last one.
func rateSet(t *nftables.Table, name string, key nftables.SetDatatype, kept time.Duration, comment string) Set {
	return Set{&nftables.Set{Table: t, Name: name, KeyType: key, KeyByteOrder: binaryutil.BigEndian, Dynamic: true,
		HasTimeout: true, Timeout: kept, Size: maxRates, Comment: comment}, nil}
}

// recordedSets returns the sets of containers whose refusals were recorded.
func recordedSets(t *nftables.Table) []Set {
	set := func(name string, key nftables.SetDatatype) Set {
		return rateSet(t, name, key, time.Minute, "containers whose packets were recorded")
	}
	all := []Set{set(setRecorded, nftables.TypeEtherAddr)}
	for _, f := range families() {
		all = append(all, set(sharedSet(setRecorded, f.v6), f.address))
	}
	return all
}

// Counter returns the counter of a rule that allows or refuses packets.
func Counter(r *nftables.Rule) (allowed, refused uint64) {
	var packets uint64
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			packets = e.Packets
		case *expr.Verdict:
			switch {
			case e.Chain == chainRefused:
				return 0, packets
			case e.Kind == expr.VerdictAccept, e.Chain == chainChecked:
				return packets, 0
			}
		}
	}
	return 0, 0
}
