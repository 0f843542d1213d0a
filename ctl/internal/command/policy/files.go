package policy

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/policyfile"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newApply(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "apply FILE [FILE...]",
		Short: "Create or replace the policies of files",
		Long: `Create or replace the policies of files, in YAML or JSON; - is standard input.

They are in force for running containers when the command ends, and for containers that start later before
their processes run. All errors of the files are reported, and then nothing changes; an assertion that is
not true is an error too. The schema of the files is printed by "policy schema".

A policy applies to containers of this host. For those of another host of a fleet:
fairlead --node NAME policy apply FILE`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return apply(cmd, c, args, false) },
	}
}

func newTest(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "test [FILE...]",
		Short: "Check the assertions of policies, and change nothing",
		Long: `Check the assertions of policies, and change nothing. With files, they are checked as if the files were
applied; otherwise those of all policies are checked. An assertion is true if it is for all addresses,
protocols and ports that it names. The command fails if one is not true.`,
		RunE: func(cmd *cobra.Command, args []string) error { return apply(cmd, c, args, true) },
	}
}

// apply applies or tests files.
func apply(cmd *cobra.Command, c *cli.CLI, files []string, dryRun bool) error {
	all, err := read(c, files)
	if err != nil {
		return err
	}
	req := &containerv1.ApplyPoliciesRequest{DryRun: dryRun, Policies: all}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.NamedPolicies.ApplyPolicies(cmd.Context(), req)
	if err != nil {
		return err
	}

	c.Warn(res.GetWarnings()...)
	failed := 0
	for _, r := range res.GetResults() {
		if ok := r.GetError() == "" && r.GetDecision().GetAllowed() == r.GetTest().GetAllowed(); !ok {
			failed++
		} else if !dryRun {
			continue
		}
		c.Println(resultLine(r))
	}
	if failed > 0 {
		what := ""
		if !dryRun {
			what = ", nothing was changed"
		}
		return fmt.Errorf("%d of %d assertions are not true%s", failed, len(res.GetResults()), what)
	}
	if !dryRun {
		for _, p := range req.GetPolicies() {
			c.Println(p.GetName())
		}
	}
	return nil
}

// read reads files; "-" is standard input.
func read(c *cli.CLI, names []string) ([]*containerv1.NamedPolicy, error) {
	var files []policyfile.File
	for _, name := range names {
		var data []byte
		var err error
		if name == "-" {
			data, err = io.ReadAll(c.In)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, policyfile.File{Name: name, Data: data})
	}
	return policyfile.Parse(files...)
}

// resultLine returns the result of an assertion as text.
func resultLine(r *containerv1.PolicyTestResult) string {
	t := r.GetTest()
	assertion := t.GetContainer() + " may "
	if !t.GetAllowed() {
		assertion += "not "
	}
	if t.GetIncoming() {
		assertion += "be reached by "
	} else {
		assertion += "reach "
	}
	state := "ok"
	if r.GetError() != "" || r.GetDecision().GetAllowed() != t.GetAllowed() {
		state = "FAIL"
	}
	reason := decisionText(r.GetDecision())
	if r.GetError() != "" {
		reason = r.GetError()
	}
	return fmt.Sprintf("%-4s  %s: %s%s (%s)", state, r.GetPolicy(), assertion, t.GetPeer(), reason)
}

// decisionText returns a decision as text.
func decisionText(d *containerv1.PolicyDecision) string {
	text := "refused"
	if d.GetAllowed() {
		text = "allowed"
	}
	if d.GetTarget() != "" {
		text += " for " + d.GetTarget()
	}
	switch {
	case d.GetSource() != "":
		return fmt.Sprintf("%s by %s of %s", text, d.GetRule(), d.GetSource())
	case d.GetRule() != "":
		return text + " by " + d.GetRule()
	}
	return text + map[string]string{"": ": no rules", "policy": ": no rule allows it",
		"metadata": ": metadata services need a rule: metadata", "name": ": the name is not allowed",
		"quic": ": QUIC hides the name, allow it with 443/quic",
		"dns":  ": with domain rules, only the embedded name server can be used"}[d.GetReason()]
}

func newShow(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "show POLICY [POLICY...]",
		Short: "Print policies as a file",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := named(cmd, c)
			if err != nil {
				return err
			}
			var found []*containerv1.NamedPolicy
			for _, name := range args {
				p := find(all, name)
				if p == nil {
					return fault.New(fault.NotFound, "policy "+name, "No such policy: "+name)
				}
				found = append(found, p)
			}
			text, err := policyfile.Format(found)
			if err == nil {
				c.Printf("%s", text)
			}
			return err
		},
	}
}

func find(all []*containerv1.NamedPolicyStatus, name string) *containerv1.NamedPolicy {
	for _, s := range all {
		if s.GetPolicy().GetName() == name {
			return s.GetPolicy()
		}
	}
	return nil
}

// named returns all policies.
func named(cmd *cobra.Command, c *cli.CLI) ([]*containerv1.NamedPolicyStatus, error) {
	cl, err := c.Client()
	if err != nil {
		return nil, err
	}
	res, err := cl.NamedPolicies.ListNamedPolicies(cmd.Context(), &containerv1.ListNamedPoliciesRequest{})
	return res.GetPolicies(), err
}

// listNamed prints all policies, if there are any.
func listNamed(cmd *cobra.Command, c *cli.CLI) error {
	all, err := named(cmd, c)
	if err != nil || len(all) == 0 {
		return err
	}
	w := tabwriter.NewWriter(c.Screen(), 0, 1, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "POLICY\tSELECTS\tCONTAINERS\tEGRESS\tINGRESS")
	for _, s := range all {
		p := s.GetPolicy()
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", p.GetName(), selector(p), len(s.GetSelected()),
			strings.Join(p.GetEgress(), ","), strings.Join(p.GetIngress(), ","))
	}
	_, _ = fmt.Fprintln(w)
	return w.Flush()
}

// selector returns what a policy selects.
func selector(p *containerv1.NamedPolicy) string {
	var all []string
	for _, kind := range []struct {
		word string
		list []string
	}{{"container", p.GetContainers()}, {"network", p.GetNetworks()}, {"label", p.GetLabels()}} {
		if len(kind.list) > 0 {
			all = append(all, kind.word+" "+strings.Join(kind.list, "|"))
		}
	}
	return strings.Join(all, ", ")
}

func newRemove(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:     "rm POLICY [POLICY...]",
		Aliases: []string{"remove"},
		Short:   "Remove policies and lift their rules",
		Args:    cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			if _, err := cl.NamedPolicies.RemovePolicies(cmd.Context(),
				&containerv1.RemovePoliciesRequest{Names: args}); err != nil {
				return err
			}
			c.Println(strings.Join(args, "\n"))
			return nil
		},
	}
}

func newExplain(c *cli.CLI) *cobra.Command {
	incoming := false
	cmd := &cobra.Command{
		Use:   "explain [OPTIONS] CONTAINER [PEER]",
		Short: "Show which rules apply to a container, and which decides about a peer",
		Long: `Show which rules apply to a container and where they come from, and which of them decides about a peer, such as
github.com:443, 10.0.0.1:22 or container:db:5432. If only some of its addresses, protocols and ports are
allowed, an example of each is shown. A name stands for a public address that the container has resolved.`,
		Args: cli.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVar(&incoming, "incoming", false, "The peer connects to the container")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cl, err := c.Client()
		if err != nil {
			return err
		}
		req := &containerv1.ExplainPolicyRequest{Reference: args[0], Incoming: incoming}
		if len(args) > 1 {
			req.Peer = args[1]
		}
		res, err := cl.NamedPolicies.ExplainPolicy(cmd.Context(), req)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.Screen(), 0, 1, 3, ' ', 0)
		_, _ = fmt.Fprintln(w, "SOURCE\tEGRESS\tINGRESS")
		for _, s := range res.GetSources() {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", s.GetName(), strings.Join(s.GetEgress(), ","),
				strings.Join(s.GetIngress(), ","))
		}
		if err := w.Flush(); err != nil || req.GetPeer() == "" {
			return err
		}
		for _, d := range res.GetDecisions() {
			c.Println(req.GetPeer() + ": " + decisionText(d))
		}
		return nil
	}
	return cmd
}

func newSchema(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of files with policies",
		Args:  cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			c.Printf("%s", policyfile.Schema)
			return nil
		},
	}
}
