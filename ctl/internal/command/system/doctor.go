package system

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/proto/fault"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Finding is a result of doctor, as printed by --json.
type Finding struct {
	Area, Name string
	Severity   string // ok, note or problem
	Text       string
	Hint       string `json:",omitempty"`
}

func newDoctor(c *cli.CLI) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Check the host for missing features and conflicts",
		Long: `Check the host for missing features and conflicts.

Each service probes with its own privileges in temporary namespaces; the host is not changed. The
exit code is 1 if something that containers need does not work.`,
		Example: `  $ fairlead doctor
  $ fairlead doctor --json | jq '.[] | select(.Severity != "ok")'`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			all, err := findings(cmd.Context(), cl)
			if err != nil {
				return err
			}
			return show(c, all, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print findings as JSON")
	return cmd
}

// show prints findings. The exit code is 1 if one of them is a problem.
func show(c *cli.CLI, all []Finding, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(c.Screen()).Encode(all); err != nil {
			return err
		}
	} else {
		c.Printf("%s", listed(all))
	}
	if count(all, "problem") > 0 {
		return &cli.ExitError{Code: 1}
	}
	return nil
}

// findings requests the findings of each service. A service that does not respond is a finding,
// unless none responds.
func findings(ctx context.Context, cl *client.Client) ([]Finding, error) {
	return asked("doctor", []question{
		{"netagent", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Networks.Diagnose(ctx, &networkv1.DiagnoseRequest{})
			return resp.GetFindings(), err
		}},
		{"natagent", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Firewall.Diagnose(ctx, &natv1.DiagnoseRequest{})
			return resp.GetFindings(), err
		}},
		{"supervisor", func() ([]*hostv1.Finding, error) {
			resp, err := cl.Host.Diagnose(ctx, &hostv1.DiagnoseRequest{})
			return resp.GetFindings(), err
		}},
	})
}

// question is a request to one service.
type question struct {
	service string
	ask     func() ([]*hostv1.Finding, error)
}

func asked(subject string, questions []question) ([]Finding, error) {
	var all []Finding
	var last error
	answered := false
	for _, q := range questions {
		found, err := q.ask()
		if err != nil {
			last = err
			all = append(all, Finding{"services", q.service, "problem", "is not responding: " + err.Error(),
				"see the agent's log: journalctl -u 'fairlead*'"})
			continue
		}
		answered = true
		for _, f := range found {
			severity := strings.ToLower(strings.TrimPrefix(f.GetSeverity().String(), "SEVERITY_"))
			all = append(all, Finding{f.GetArea(), f.GetName(), severity, f.GetMessage(), f.GetHint()})
		}
	}

	if !answered {
		return nil, fault.Wrap(last, fault.Unavailable, subject, "no service is responding")
	}

	return all, nil
}

// byArea groups the findings of all services by area. Areas keep the order of their first finding.
func byArea(all []Finding) []Finding {
	first := map[string]int{}
	for i, f := range all {
		if _, seen := first[f.Area]; !seen {
			first[f.Area] = i
		}
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Finding) int { return first[a.Area] - first[b.Area] })
	return sorted
}

// listed formats findings as text.
func listed(all []Finding) string {
	var out strings.Builder
	area := ""
	for _, f := range byArea(all) {
		if f.Area != area {
			area = f.Area
			_, _ = fmt.Fprintf(&out, "%s%s\n", strings.ToUpper(area[:1]), area[1:])
		}
		text := f.Text
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		_, _ = fmt.Fprintf(&out, "  %-8s %-18s %s\n", f.Severity, escape.Line(f.Name), escape.Line(text))
	}

	_, _ = fmt.Fprintf(&out, "%d ok, %d notes, %d problems\n", count(all, "ok"), count(all, "note"),
		count(all, "problem"))

	return out.String()
}

func count(all []Finding, severity string) (n int) {
	for _, f := range all {
		if f.Severity == severity {
			n++
		}
	}
	return n
}
