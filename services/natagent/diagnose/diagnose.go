// Package diagnose tries which firewall natagent can have on this host, and looks at those of others. It leaves nothing behind.
package diagnose

import (
	"context"
	"fmt"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/services/natagent/firewall"
	"github.com/fairlead/fairlead/services/natagent/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/hostns"
)

const area = "firewall"

// Chains lists the chains of others that decide on forwarded packets.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// Doctor finds out.
type Doctor struct {
	ns     hostns.NS
	chains Chains
	inUse  string
}

// New makes a doctor. inUse names the backend that runs.
func New(ns hostns.NS, chains Chains, inUse string) *Doctor { return &Doctor{ns, chains, inUse} }

// Backend is the name of the backend that runs.
func (d *Doctor) Backend() string { return d.inUse }

// Run tries everything.
func (d *Doctor) Run(ctx context.Context) []diagnosis.Finding {
	out := []diagnosis.Finding{{Area: area, Name: "backend", Text: d.inUse + " is in use"}}
	features, err := nftables.Probe(ctx, d.ns)
	out = append(out, diagnosis.Of(area, "nftables", "works", err, d.worse("nftables"), "firewall-backend iptables works without it"))
	if err == nil {
		owner := diagnosis.Finding{Area: area, Name: "table owner", Text: "nobody else can change or flush our table"}
		if !features.Owner {
			owner.Severity, owner.Text = diagnosis.Note, "others can flush our table; it is mended as soon as that is seen"
			owner.Hint = "a kernel of 6.9 or later lets a table have an owner"
		}
		out = append(out, owner)
	}
	for _, flavour := range []string{iptables.NFT, iptables.Legacy} {
		_, err := iptables.Probe(ctx, d.ns, flavour)
		out = append(out, diagnosis.Of(area, "iptables-"+flavour, "works", err, diagnosis.Note, "needed for firewall-backend iptables only"))
	}
	return append(out, d.others(ctx)...)
}

// worse is what it means that a backend does not work: nothing much, unless it is the one in use.
func (d *Doctor) worse(backend string) diagnosis.Severity {
	if d.inUse == backend {
		return diagnosis.Problem
	}
	return diagnosis.Note
}

// others looks at chains that may drop what is for containers.
func (d *Doctor) others(ctx context.Context) []diagnosis.Finding {
	chains, err := d.chains.ForwardChains(ctx)
	if err != nil {
		return []diagnosis.Finding{diagnosis.Of(area, "other firewalls", "", err, diagnosis.Note, "")}
	}
	var out []diagnosis.Finding
	for _, c := range chains {
		f := diagnosis.Finding{Area: area, Name: fmt.Sprintf("chain %s %s %s", c.Family, c.Table, c.Name), Text: "lets forwarded packets through"}
		switch {
		case c.Drops && c.Table == "filter" && c.Name == "FORWARD":
			f.Severity, f.Text = diagnosis.Note, "drops what none of its rules accepts; a pair of rules for each of our bridges lets containers' traffic through"
		case c.Drops:
			f.Severity, f.Text = diagnosis.Problem, "drops what none of its rules accepts, containers' traffic too"
			f.Hint = fmt.Sprintf("let our bridges through: nft insert rule %s %s %s iifname docker0 accept, and the same with oifname", c.Family, c.Table, c.Name)
		}
		out = append(out, f)
	}
	return out
}
