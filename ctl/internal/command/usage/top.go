package usage

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Top returns the command `fairlead top`.
func Top(c *cli.CLI) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top CONTAINER [PS OPTIONS]",
		Short: "Display the running processes of a container",
		Long: `Display the running processes of a container, with their IDs on the host.

PS OPTIONS are -ef (the default), aux, or -o with columns, as in ps. No program runs in the
container.`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			res, err := cl.Containers.ListProcesses(cmd.Context(),
				&containerv1.ListProcessesRequest{Reference: args[0], PsArgs: args[1:]})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.Screen(), 20, 1, 3, ' ', 0)
			_, _ = fmt.Fprintln(w, strings.Join(res.GetTitles(), "\t"))
			for _, p := range res.GetProcesses() {
				_, _ = fmt.Fprintln(w, strings.Join(p.GetValues(), "\t"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after the container belong to ps
	return cmd
}
