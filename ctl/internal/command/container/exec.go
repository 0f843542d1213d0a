package container

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type execOptions struct {
	foreground
	detach        bool
	env, envFiles []string
	workdir, user string
	privileged    bool
}

func newExec(c *cli.CLI) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Run a command in a running container",
		Long: `Run a command in a running container.

The exit code is the command's, 126 if it could not be executed, 127 if it was not found.`,
		Example: `  # A shell
  fairlead exec -it web sh

  # A command that reads standard input
  fairlead exec -i db psql < dump.sql`,
		Args: cli.MinArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := o.options(c, args)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitRunFailed, Err: err}
			}
			o.stdin = o.stdin && !o.detach
			if err := o.check(c); err != nil {
				return err
			}
			return cli.WithRunExitCode(o.run(cmd.Context(), c, opts), cli.ExitFailure)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // flags after the container belong to the command
	f.BoolVarP(&o.detach, "detach", "d", false, "Run in the background")
	f.BoolVarP(&o.stdin, "interactive", "i", false, "Attach standard input")
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a terminal")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set an environment variable: KEY=VALUE, or KEY to copy it")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "Read environment variables from a file")
	f.BoolVar(&o.privileged, "privileged", false, "Run with all capabilities")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory")
	f.StringVarP(&o.user, "user", "u", "", "User: USER[:GROUP], names or IDs")
	o.addDetachKeysFlag(f)
	return cmd
}

func (o *execOptions) options(c *cli.CLI, args []string) (*containerv1.ExecOptions, error) {
	env, err := environment(c, o.env, o.envFiles)
	if err != nil {
		return nil, err
	}
	return &containerv1.ExecOptions{Reference: args[0], Args: args[1:], Env: env, WorkingDir: o.workdir,
		User: o.user, Tty: o.tty,
		Privileged: o.privileged, OpenStdin: o.stdin && !o.detach, Detach: o.detach, Size: o.size(c)}, nil
}

func (o *execOptions) run(ctx context.Context, c *cli.CLI, opts *containerv1.ExecOptions) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	back := fmt.Sprintf("container %[1]s keeps running; run another command with: fairlead exec -it %[1]s sh",
		opts.GetReference())
	s, err := cl.Exec(ctx, opts)
	if err != nil {
		return cli.Lost(err, "%s", back)
	}
	defer s.Close()
	c.Warn(s.Warnings...)
	if o.detach {
		return nil
	}

	return o.attachStreams(c, s, nil, back)
}
