package container

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type stopOptions struct {
	timeout seconds
	signal  string
}

func newStop(c *cli.CLI) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Stop one or more containers",
		Args:  cli.MinArgs(1),
	}
	o.flags(cmd.Flags())
	cmd.RunE = each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
		return reference, o.stop(ctx, cl, cmd.Flags(), reference)
	})
	return cmd
}

func newRestart(c *cli.CLI) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Restart one or more containers",
		Args:  cli.MinArgs(1),
	}
	o.flags(cmd.Flags())
	cmd.RunE = each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
		req := &containerv1.RestartContainerRequest{Reference: reference, Signal: o.signal,
			TimeoutSeconds: o.timeoutOrNil(cmd.Flags())}
		res, err := cl.Containers.RestartContainer(ctx, req)
		if err == nil && len(res.GetWarnings()) > 0 {
			err = cli.WarningsError(res.GetWarnings())
		}
		return reference, err
	})

	return cmd
}

func (o *stopOptions) flags(f *pflag.FlagSet) {
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "time" {
			name = "timeout"
		}
		return pflag.NormalizedName(name)
	})
	o.timeout = 10
	f.VarP(&o.timeout, "timeout", "t", "Seconds to wait before SIGKILL (-1: no limit; default: the container's)")
	f.StringVarP(&o.signal, "signal", "s", "", "Signal to send first (default: the container's)")
}

func (o *stopOptions) stop(ctx context.Context, cl *client.Client, f *pflag.FlagSet, reference string) error {
	req := &containerv1.StopContainerRequest{Reference: reference, Signal: o.signal, TimeoutSeconds: o.timeoutOrNil(f)}
	_, err := cl.Containers.StopContainer(ctx, req)
	return err
}

// timeoutOrNil returns --timeout, or nil if it is not given.
func (o *stopOptions) timeoutOrNil(f *pflag.FlagSet) *uint32 {
	if !f.Changed("timeout") {
		return nil
	}
	return o.timeout.wire()
}
