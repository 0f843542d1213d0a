package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type attachOptions struct {
	foreground
	noStdin bool
	logs    bool
}

func newAttach(c *cli.CLI) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach standard streams to a running container",
		Args:  cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().BoolVar(&o.noStdin, "no-stdin", false, "Do not attach standard input")
	cmd.Flags().BoolVar(&o.logs, "logs", false, "Print the stored output first")
	o.addDetachKeysFlag(cmd.Flags())
	o.addSigProxyFlag(cmd.Flags())
	return cmd
}

func (o *attachOptions) run(ctx context.Context, c *cli.CLI, reference string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	target, err := get(ctx, cl, reference)
	if err != nil {
		return err
	}
	switch target.GetStatus() {
	case containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:
	case containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED:
		return fault.New(fault.Busy, "container "+reference, "cannot attach to a paused container",
			fault.WithHint("unpause it first"))
	case containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING:
		return fault.New(fault.Busy, "container "+reference, "cannot attach to a restarting container",
			fault.WithHint("wait until it is running"))
	default:
		return fault.New(fault.Busy, "container "+reference, "cannot attach to a stopped container",
			fault.WithHint("start it first"))
	}

	o.redraw = true
	o.tty, o.stdin = target.GetConfig().GetTty(), !o.noStdin && target.GetConfig().GetOpenStdin()
	return o.attachTo(ctx, c, cl, &containerv1.AttachOptions{Reference: target.GetId(), Logs: o.logs}, reference)
}
