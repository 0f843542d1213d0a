package container

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func newWait(c *cli.CLI) *cobra.Command {
	conditions := map[string]containerv1.WaitCondition{
		"not-running": containerv1.WaitCondition_WAIT_CONDITION_NOT_RUNNING,
		"next-exit":   containerv1.WaitCondition_WAIT_CONDITION_NEXT_EXIT,
		"removed":     containerv1.WaitCondition_WAIT_CONDITION_REMOVED,
	}
	var condition string
	cmd := &cobra.Command{
		Use:   "wait CONTAINER [CONTAINER...]",
		Short: "Wait for containers to exit and print their exit codes",
		Args:  cli.MinArgs(1),
	}
	cmd.Flags().StringVar(&condition, "condition", "not-running", "Condition: not-running, next-exit or removed")
	_ = cmd.Flags().MarkHidden("condition") // docker has it in its API only
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		until, ok := conditions[condition]
		if !ok {
			return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure,
				Err: fault.Invalidf("--condition "+condition, "condition", "invalid condition: %q", condition)}
		}
		return each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
			res, err := cl.Containers.WaitContainer(ctx,
				&containerv1.WaitContainerRequest{Reference: reference, Condition: until})
			return strconv.Itoa(int(res.GetExitCode())), err
		})(cmd, args)
	}
	return cmd
}
