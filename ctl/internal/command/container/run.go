package container

import (
	"cmp"
	"context"
	"slices"

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
		Short: "Create and start a container",
		Long: `Create and start a container.

The exit code is the container's, 125 if it could not be started, 126 if its command could not be
executed, 127 if its command was not found.

--network takes NAME, or name=NAME with options: ip=, ip6=, link-local-ip=, mac-address=, alias=,
gw-priority=, driver-opt=. Repeat it for more interfaces. Interfaces are created in this order.
--publish: with from=CIDR only that network and the host can connect. Ports can be ranges.
--volume: a missing HOST is created as a directory. OPTIONS are ro and a propagation mode; z, Z,
cached and delegated are ignored.
--mount: more options are readonly and bind-propagation=MODE. The source must exist.
--security-opt: no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, label=disable and
systempaths=unconfined.
--keep-netns=false: joined containers keep only the loopback interface when this one stops.`,
		Example: `  # A web server in the background, published on port 8080 of all host addresses
  fairlead run -d --rm --name web -p 8080:80 nginx

  # A shell in a container that is removed afterwards; Ctrl-P Ctrl-Q detaches
  fairlead run -it --rm busybox sh

  # A port of one host address, an ephemeral port of another, and a UDP range
  fairlead run -d -p 192.168.8.115:8888:80 -p 127.0.0.1::80 -p 5000-5010:5000-5010/udp app

  # A read-only file of the host, and a copied environment variable
  fairlead run --rm -v ./app.conf:/etc/app.conf:ro -e TOKEN app

  # The name of the interface on a network
  fairlead run -d --network name=lan,driver-opt=com.docker.network.endpoint.ifname=lan0 app

  # A hostname, a DNS server, and an /etc/hosts entry for the host
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
	f.BoolVarP(&o.detach, "detach", "d", false, "Run in the background and print the container ID")
	return cmd
}

func (o *runOptions) prepare(c *cli.CLI, cmd *cobra.Command, args []string) (*containerv1.ContainerConfig, error) {
	cfg, err := o.config(c, cmd.Flags(), args)
	if err != nil {
		return nil, &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitRunFailed, Err: err}
	}
	if err := o.options.setStreams(cfg, o.detach); err != nil {
		return nil, &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitRunFailed, Err: err}
	}

	attached := o.streams.attached(o.options.stdin, o.detach)
	o.foreground.tty, o.foreground.stdin = o.options.tty, o.options.stdin && slices.Contains(attached, "stdin")
	o.noStdout, o.noStderr = !slices.Contains(attached, "stdout"), !slices.Contains(attached, "stderr")
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

	opts := &containerv1.RunOptions{Config: cfg, Size: o.size(c), Credentials: credentials(ctx, c, cl, cfg),
		Steps: c.Debug}
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

// credentials returns the credentials for the registry of the image. A credential helper is called
// only if the image must be pulled.
func credentials(ctx context.Context, c *cli.CLI, cl *client.Client,
	cfg *containerv1.ContainerConfig) *containerv1.Credentials {
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
