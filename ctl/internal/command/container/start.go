package container

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type startOptions struct {
	foreground
	attach, interactive bool
}

func newStart(c *cli.CLI) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more containers",
		Args:  cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.attach && !o.interactive {
				return each(c, start)(cmd, args)
			}
			if len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return cli.WithRunExitCode(o.run(cmd.Context(), c, args[0]), cli.ExitFailure)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.attach, "attach", "a", false, "Attach output and forward signals")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Attach standard input")
	o.addDetachKeysFlag(f)
	o.addSigProxyFlag(f)
	return cmd
}

func start(ctx context.Context, cl *client.Client, reference string) (string, error) {
	res, err := cl.Containers.StartContainer(ctx, &containerv1.StartContainerRequest{Reference: reference})
	if err == nil && len(res.GetWarnings()) > 0 {
		err = cli.WarningsError(res.GetWarnings())
	}
	return reference, err
}

func (o *startOptions) run(ctx context.Context, c *cli.CLI, reference string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	target, err := get(ctx, cl, reference)
	if err != nil {
		return err
	}
	o.tty, o.stdin = target.GetConfig().GetTty(), o.interactive && target.GetConfig().GetOpenStdin()
	return o.attachTo(ctx, c, cl, &containerv1.AttachOptions{Reference: target.GetId(), Start: true}, reference)
}

// attachTo attaches the user's streams to a container. name is the user's reference to it.
func (f *foreground) attachTo(ctx context.Context, c *cli.CLI, cl *client.Client, opts *containerv1.AttachOptions,
	name string) error {
	if err := f.check(c); err != nil {
		return err
	}

	opts.Size = f.size(c)
	if opts.Size != nil && f.redraw { // the real size is sent when the connection is established
		opts.Size.Rows++
		opts.Size.Columns++
	}

	s, err := cl.Attach(ctx, opts)
	if err != nil {
		return cli.Lost(err, "%s", backTo(name))
	}

	c.Warn(s.Warnings...)
	return f.attachStreams(c, s, signalForwarder(ctx, cl, opts.GetReference()), backTo(name))
}
