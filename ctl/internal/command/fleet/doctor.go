package fleet

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// finding is a row of doctor.
type finding struct {
	Severity string
	Area     string
	Name     string
	Text     string
}

func newDoctor(c *cli.CLI) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Check the connections of this host to its fleet",
		Long: `Check the connections of this host to its fleet: the ports of all hosts in both directions, their clocks,
the certificate, and version and health of the store. Nothing is changed. The exit code is 1 if there is
a problem.

Template fields: .Severity .Area .Name .Text. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			res, err := cl.Fleet.DiagnoseFleet(cmd.Context(), &fleetv1.DiagnoseFleetRequest{})
			if err != nil {
				return err
			}
			rows, bad := []finding{}, 0
			for _, f := range res.GetFindings() {
				r := finding{strings.ToLower(strings.TrimPrefix(f.GetSeverity().String(), "SEVERITY_")), f.GetArea(),
					f.GetName(), f.GetMessage()}
				if f.GetHint() != "" {
					r.Text += "; " + f.GetHint()
				}
				if r.Severity == "problem" {
					bad = cli.ExitFailure
				}
				rows = append(rows, r)
			}
			if err := format.Print(c.Screen(), text, "{{.Severity}}\t{{.Area}}\t{{.Name}}\t{{.Text}}",
				finding{"SEVERITY", "AREA", "NAME", "RESULT"}, rows); err != nil {
				return err
			}
			return cli.ExitWithCode(bad)
		},
	}
	cmd.Flags().StringVar(&text, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}
