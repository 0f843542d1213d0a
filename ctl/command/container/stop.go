package container

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type stopOptions struct {
	timeout uint32
	signal  string
}

func newStop(c *cli.CLI) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Stop one or more running containers: the stop signal, then SIGKILL after the timeout",
		Args:  cli.AtLeast(1),
	}
	f := cmd.Flags()
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "time" {
			name = "timeout"
		}
		return pflag.NormalizedName(name)
	})
	f.Uint32VarP(&o.timeout, "timeout", "t", 10, "`SECONDS` before SIGKILL; the container's own unless given")
	f.StringVarP(&o.signal, "signal", "s", "", "`SIGNAL` to send first; the container's own unless given")
	cmd.RunE = each(c, func(ctx context.Context, cl *client.Client, reference string) (string, error) {
		req := &containerv1.StopContainerRequest{Reference: reference, Signal: o.signal}
		if f.Changed("timeout") {
			req.TimeoutSeconds = &o.timeout
		}
		_, err := cl.Containers.StopContainer(ctx, req)
		return reference, err
	})
	return cmd
}
