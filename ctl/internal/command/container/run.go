package container

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type runOptions struct {
	options
	foreground
	detach bool
}

func newRun(c *cli.CLI) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a container from an image and run it",
		Long: `Create a container from an image and run it.

In the foreground the exit code is the container's. It is 125 if no container came to run, 126 if its
command cannot be executed, 127 if it has no such command.`,
		Example: `  # A web server in the background, reachable on port 8080 of all the host's addresses
  fairlead run -d --rm --name web -p 8080:80 nginx

  # A shell in a container that is gone afterwards; Ctrl-P Ctrl-Q leaves it running
  fairlead run -it --rm busybox sh

  # A port of one host address, a dynamic port of another, and a range over UDP
  fairlead run -d -p 192.168.8.115:8888:80 -p 127.0.0.1::80 -p 5000-5010:5000-5010/udp app

  # A file of the host, read-only, and a variable taken from here
  fairlead run --rm -v ./app.conf:/etc/app.conf:ro -e TOKEN app

  # An interface's name and kernel parameters on one network
  fairlead run -d --network 'name=lan,driver-opt=com.docker.network.endpoint.ifname=lan0,"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.rp_filter=1"' app

  # Names of its own, and a line in /etc/hosts that leads to the host
  fairlead run --rm -h db.example.com --dns 1.1.1.1 --add-host host:host-gateway app`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.prepare(c, cmd, args)
			if err != nil {
				return err
			}
			return cli.WithRunExitCode(o.run(cmd.Context(), c, cfg), cli.ExitRunFailed)
		},
	}
	f := cmd.Flags()
	o.flags(f)
	o.addDetachKeysFlag(f)
	o.addSigProxyFlag(f)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run in the background and print the container's id")
	return cmd
}

func (o *runOptions) prepare(c *cli.CLI, cmd *cobra.Command, args []string) (*containerv1.ContainerConfig, error) {
	cfg, err := o.config(c, cmd.Flags(), args)
	if err != nil {
		return nil, &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitRunFailed, Err: err}
	}
	o.foreground.tty, o.foreground.stdin = o.options.tty, o.options.stdin && !o.detach
	return cfg, o.check(c)
}

func (o *runOptions) run(ctx context.Context, c *cli.CLI, cfg *containerv1.ContainerConfig) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	ids, err := openCIDFile(o.cidFile)
	if err != nil {
		return err
	}
	defer func() { _ = ids.close() }()
	opts := &containerv1.RunOptions{Config: cfg, Size: o.size(c), Credentials: credentials(ctx, c, cl, cfg), Steps: c.Debug}
	progress := c.Progress(o.quiet)
	defer progress.Finish()
	if o.detach {
		started, err := cl.RunDetached(ctx, opts, progress.Show)
		if err != nil {
			return err
		}
		c.Warn(started.GetWarnings()...)
		c.Println(started.GetId())
		return ids.write(started.GetId())
	}
	s, err := cl.Run(ctx, opts, progress.Show)
	if err != nil {
		return err
	}
	progress.Finish()
	if err := ids.write(s.ID); err != nil {
		s.Close()
		return err
	}
	c.Warn(s.Warnings...)
	return o.attachStreams(c, s, signalForwarder(ctx, cl, s.ID), backTo(cmp.Or(cfg.GetName(), id.Short(s.ID))))
}

// credentials finds those for a configuration's image. A helper is not asked if the image is there and is not to be fetched.
func credentials(ctx context.Context, c *cli.CLI, cl *client.Client, cfg *containerv1.ContainerConfig) *containerv1.Credentials {
	if cfg.GetPull() == containerv1.PullPolicy_PULL_POLICY_NEVER {
		return nil
	}
	return c.Credentials(ctx, cfg.GetImage(), func() bool {
		if cfg.GetPull() == containerv1.PullPolicy_PULL_POLICY_ALWAYS {
			return true
		}
		_, err := cl.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: cfg.GetImage()})
		return err != nil
	})
}
