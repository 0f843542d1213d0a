package config

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/command/cli"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

func newReload(c *cli.CLI) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "reload [OPTIONS]",
		Short: "Let the agent read its configuration again",
		Long: `Let the agent read its configuration again, apply what can be applied while it runs, and tell what has changed.
If anything is wrong in it, nothing changes.`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return reload(cmd.Context(), c, dry) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Only tell what would change")
	return cmd
}

func reload(ctx context.Context, c *cli.CLI, dry bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Config.ReloadConfig(ctx, &agentv1.ReloadConfigRequest{DryRun: dry})
	if err != nil {
		return fail(c, err)
	}
	c.Warn(res.GetWarnings()...)
	if len(res.GetChanges()) == 0 {
		c.Println("nothing has changed")
	}
	for _, change := range res.GetChanges() {
		c.Println(describe(change, dry))
	}
	return nil
}

// describe writes a change on one line: "mtu: 1500 -> 1400".
func describe(change *agentv1.Change, dry bool) string {
	line := change.GetKey() + ": " + list(change.GetBefore()) + " -> " + list(change.GetAfter())
	switch {
	case !change.GetApplied():
		line += " (restart the agent to apply it)"
	case dry:
		line += " (a reload applies it)"
	}
	return line
}

func list(values []string) string {
	if len(values) == 0 {
		return "not set"
	}
	return strings.Join(values, " ")
}
