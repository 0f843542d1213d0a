// Package diagnose detects which firewall backends work on this host, and inspects other firewalls.
// It changes nothing.
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

// Chains lists the foreign chains at the forward hook.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// History counts external changes.
type History interface {
	ExternalChanges() reconcile.ExternalChanges
}

// Tools returns the programs that have rules on the host.
type Tools interface {
	Tools(ctx context.Context) []string
}

// Doctor runs the checks.
type Doctor struct {
	ns      hostns.NS
	chains  Chains
	inUse   string
	history History
	tools   Tools
}

// New returns a doctor. inUse is the name of the running backend.
func New(ns hostns.NS, chains Chains, inUse string, history History, tools Tools) *Doctor {
	return &Doctor{ns, chains, inUse, history, tools}
}

// Backend returns the name of the running backend.
func (d *Doctor) Backend() string { return d.inUse }

// Run runs all checks.
func (d *Doctor) Run(ctx context.Context) []diagnosis.Finding {
	out := []diagnosis.Finding{{Area: area, Name: "backend", Text: d.inUse + " is in use"}}
	features, err := nftables.Probe(ctx, d.ns)
	out = append(out, diagnosis.Check(area, "nftables", "works", err, d.worse("nftables"),
		"firewall-backend iptables works without it"))

	if err == nil {
		owner := diagnosis.Finding{Area: area, Name: "table owner", Text: "no other program can change the table"}
		if !features.Owner {
			owner.Severity, owner.Text = diagnosis.Note, "other programs can change the table; it is restored"
			owner.Hint = "use Linux 6.9 or later, which supports table owners"
		}
		out = append(out, owner)
	}

	for _, flavour := range []string{iptables.NFT, iptables.Legacy} {
		_, err := iptables.Probe(ctx, d.ns, flavour)
		out = append(out, diagnosis.Check(area, "iptables-"+flavour, "works", err, diagnosis.Note,
			"needed for firewall-backend iptables only"))
	}

	out = append(out, diagnosis.Check(area, "conntrack", "entries of withdrawn ports can be deleted",
		conntrack.Probe(d.ns), diagnosis.Problem, ""))

	return append(append(append(out, d.externalChanges()), d.foreignChains(ctx)...), d.coexistence(ctx)...)
}

// coexistence describes the interaction with other programs that have rules.
func (d *Doctor) coexistence(ctx context.Context) (out []diagnosis.Finding) {
	const bypass = "its rules for the host do not apply to published ports (see fairlead port --reach CONTAINER)"
	texts := map[string]string{
		"firewalld": "our bridges are in its zone trusted; " + bypass,
		"ufw":       "two FORWARD rules accept the traffic of our bridges; " + bypass,
		"Docker": "its FORWARD rules accept the traffic of our bridges; our containers cannot connect to its " +
			"published ports, and vice versa",
		"libvirt": "its bridges and rules are not changed",
	}

	for _, name := range d.tools.Tools(ctx) {
		out = append(out, diagnosis.Finding{Area: "other programs", Name: name, Text: texts[name]})
	}

	return out
}

// externalChanges reports the number of external changes.
func (d *Doctor) externalChanges() diagnosis.Finding {
	f := diagnosis.Finding{Area: area, Name: "external changes", Text: "none since the agent started"}
	if m := d.history.ExternalChanges(); m.Times > 0 {
		f.Severity = diagnosis.Note
		f.Text = fmt.Sprintf("%d since the agent started, last by %s at %s", m.Times, m.Last,
			m.At.Format(time.DateTime))
		f.Hint = "configure that program not to change foreign tables"
	}
	return f
}

// worse returns the severity of a backend that does not work: a problem only for the running one.
func (d *Doctor) worse(backend string) diagnosis.Severity {
	if d.inUse == backend {
		return diagnosis.Problem
	}
	return diagnosis.Note
}

// foreignChains reports chains that may drop traffic of containers.
func (d *Doctor) foreignChains(ctx context.Context) []diagnosis.Finding {
	chains, err := d.chains.ForwardChains(ctx)
	if err != nil {
		return []diagnosis.Finding{diagnosis.Check(area, "other firewalls", "", err, diagnosis.Note, "")}
	}

	var out []diagnosis.Finding
	for _, c := range chains {
		f := diagnosis.Finding{Area: area, Name: fmt.Sprintf("chain %s %s %s", c.Family, c.Table, c.Name),
			Text: "accepts forwarded packets"}
		switch {
		case c.Drops && c.Table == "filter" && c.Name == "FORWARD":
			f.Severity, f.Text = diagnosis.Note,
				"has the policy drop; two rules for each of our bridges accept traffic of containers"
		case c.Drops:
			f.Severity, f.Text = diagnosis.Problem, "has the policy drop, which affects traffic of containers"
			f.Hint = fmt.Sprintf("accept the bridges: nft insert rule %s %s %s iifname docker0 accept, and the same "+
				"with oifname", c.Family, c.Table, c.Name)
		}
		out = append(out, f)
	}

	return out
}
