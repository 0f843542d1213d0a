package rules

import (
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// Records of refused packets.
const (
	Group      = 1071 // of NFLOG
	recordRate = 100  // records of one rule in a second; the counters count all packets
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

// prefix returns the log prefix of a container and a reason.
func prefix(owner, reason string, d Direction) string {
	text := "fairlead " + id.Short(owner) + " " + reason
	if d == Incoming {
		text += " " + markIncoming
	}
	return text
}

// ParsePrefix returns the short container ID, the reason and the direction of a record.
func ParsePrefix(text string) (short, reason string, d Direction, ok bool) {
	fields := strings.Fields(strings.TrimRight(text, "\x00"))
	if len(fields) < 3 || fields[0] != "fairlead" {
		return "", "", Outgoing, false
	}
	if len(fields) == 4 && fields[3] == markIncoming {
		return fields[1], fields[2], Incoming, true
	}
	return fields[1], fields[2], Outgoing, len(fields) == 3
}

// Counters returns the counter of a rule that allows or refuses packets.
func Counters(r *nftables.Rule) (allowed, refused uint64) {
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
