// Package diagnose tries which firewall natagent can have on this host, and looks at those of others. It leaves nothing behind.
package diagnose

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/agent/diagnosis"
	"github.com/fairlead/fairlead/services/natagent/internal/conntrack"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
)

const area = "firewall"

// Chains lists the chains of others that decide on forwarded packets.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// History knows what others have done to our rules.
type History interface {
	Meddling() reconcile.ExternalChanges
}

// Tools names programs that have rules of their own on the host.
type Tools interface {
	Tools(ctx context.Context) []string
}

// Doctor finds out.
type Doctor struct {
	ns      hostns.NS
	chains  Chains
	inUse   string
	history History
	tools   Tools
}

// New makes a doctor. inUse names the backend that runs.
func New(ns hostns.NS, chains Chains, inUse string, history History, tools Tools) *Doctor {
	return &Doctor{ns, chains, inUse, history, tools}
}

// Backend is the name of the backend that runs.
func (d *Doctor) Backend() string { return d.inUse }

// Run tries everything.
func (d *Doctor) Run(ctx context.Context) []diagnosis.Finding {
	out := []diagnosis.Finding{{Area: area, Name: "backend", Text: d.inUse + " is in use"}}
	features, err := nftables.Probe(ctx, d.ns)
	out = append(out, diagnosis.Check(area, "nftables", "works", err, d.worse("nftables"), "firewall-backend iptables works without it"))
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
		out = append(out, diagnosis.Check(area, "iptables-"+flavour, "works", err, diagnosis.Note, "needed for firewall-backend iptables only"))
	}
	out = append(out, diagnosis.Check(area, "connection tracker", "flows to withdrawn ports can be cut", conntrack.Probe(d.ns), diagnosis.Problem, ""))
	return append(append(append(out, d.externalChanges()), d.foreignChains(ctx)...), d.coexistence(ctx)...)
}

// coexistence tells how we live with programs that have rules of their own.
func (d *Doctor) coexistence(ctx context.Context) (out []diagnosis.Finding) {
	const through = "its rules for the host do not apply to published ports: fairlead port --reach CONTAINER tells who reaches them"
	texts := map[string]string{
		"firewalld": "our bridges are in its zone trusted; " + through,
		"ufw":       "a pair of rules in FORWARD lets our bridges through; " + through,
		"Docker":    "its FORWARD rules let our bridges through; ports that it publishes are refused to our containers, and the other way round",
		"libvirt":   "its bridges and rules are left alone",
	}
	for _, name := range d.tools.Tools(ctx) {
		out = append(out, diagnosis.Finding{Area: "other programs", Name: name, Text: texts[name]})
	}
	return out
}

// externalChanges tells how often others have changed our rules.
func (d *Doctor) externalChanges() diagnosis.Finding {
	f := diagnosis.Finding{Area: area, Name: "changes by others", Text: "nobody has changed our rules since the agent started"}
	if m := d.history.Meddling(); m.Times > 0 {
		f.Severity = diagnosis.Note
		f.Text = fmt.Sprintf("our rules were changed and put right again, %d times since the agent started, the last time by %s at %s", m.Times, m.Last, m.At.Format(time.DateTime))
		f.Hint = "have that program leave the tables of others alone"
	}
	return f
}

// worse is what it means that a backend does not work: nothing much, unless it is the one in use.
func (d *Doctor) worse(backend string) diagnosis.Severity {
	if d.inUse == backend {
		return diagnosis.Problem
	}
	return diagnosis.Note
}

// foreignChains looks at chains that may drop what is for containers.
func (d *Doctor) foreignChains(ctx context.Context) []diagnosis.Finding {
	chains, err := d.chains.ForwardChains(ctx)
	if err != nil {
		return []diagnosis.Finding{diagnosis.Check(area, "other firewalls", "", err, diagnosis.Note, "")}
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
