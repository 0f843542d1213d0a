// Package command is the `fairlead` command line: its root, and the one function that runs it. The commands are in the packages below.
package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/command/config"
	"github.com/fairlead/fairlead/ctl/internal/command/container"
	"github.com/fairlead/fairlead/ctl/internal/command/image"
	"github.com/fairlead/fairlead/ctl/internal/command/network"
	"github.com/fairlead/fairlead/ctl/internal/command/system"
	"github.com/fairlead/fairlead/proto/version"
)

// Run runs one command line and gives the exit code. ctx is what c.Interrupts.Listen gave.
func Run(ctx context.Context, c *cli.CLI, args []string) int {
	defer c.Close()
	root := newRoot(c)
	if completes(args) {
		addCompletions(c, root)
	}
	root.SetArgs(args)
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case errors.Is(err, pflag.ErrHelp): // of -h, where it is no flag of its own
		err = cmd.Help()
	case isFlagError(err): // of a flag before the command, which cobra does not give to the flag error function
		err = cli.FlagError(cmd, err)
	}
	return c.ExitCode(ctx, err)
}

// isFlagError reports whether pflag itself refused a flag.
func isFlagError(err error) bool {
	switch err.(type) {
	case *pflag.NotExistError, *pflag.ValueRequiredError, *pflag.InvalidValueError, *pflag.InvalidSyntaxError:
		return true
	}
	return false
}

func newRoot(c *cli.CLI) *cobra.Command {
	root := &cobra.Command{
		Use:   "fairlead [OPTIONS] COMMAND",
		Short: "Containers and their networks",
		Long: `Containers and their networks. This program asks a fairlead-agent, which does the work.

The agent is the one that -H names, else the one that the variable ` + cli.EnvHost + ` names, else
` + client.DefaultHost + `.`,
		Version:          version.Version,
		Args:             cobra.ArbitraryArgs,
		RunE:             cli.UnknownCommand,
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true, // -H may stand before the command
	}
	f := root.PersistentFlags()
	f.StringVarP(&c.Host, "host", "H", "", "`URL` of the agent: unix:///PATH or tcp://ADDRESS:PORT")
	f.BoolVar(&c.TLS.Verify, "tlsverify", false, "Talk TLS to a tcp:// agent, and be sure who it is")
	f.StringVar(&c.TLS.CA, "tlscacert", "", "`File` with the CA's certificate (default ca.pem in "+cli.CertificatesVariable+", or ~/.fairlead)")
	f.StringVar(&c.TLS.Cert, "tlscert", "", "`File` with a certificate to show to the agent (default cert.pem, there)")
	f.StringVar(&c.TLS.Key, "tlskey", "", "`File` with its key (default key.pem, there)")
	f.BoolVarP(&c.Debug, "debug", "D", false, "Name each step of a launch as it is taken")
	f.Bool("help", false, "Show this help") // without a short form: -h is a host name
	root.SetFlagErrorFunc(cli.FlagError)
	root.Flags().SetInterspersed(false) // flags behind an unknown command are its own
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpCommand(newHelp())
	root.SetCompletionCommandGroupID("common")
	root.AddGroup(&cobra.Group{ID: "manage", Title: "Management Commands:"}, &cobra.Group{ID: "common", Title: "Commands:"})
	for _, group := range []*cobra.Command{container.Group(c), image.Group(c), network.Group(c), config.Group(c), system.Group(c)} {
		group.GroupID = "manage"
		root.AddCommand(group)
	}
	for _, commands := range [][]*cobra.Command{container.Commands(c), image.Commands(c), system.Commands(c)} {
		for _, cmd := range commands {
			cmd.GroupID = "common"
			root.AddCommand(cmd)
		}
	}
	plainUseLines(root)
	return root
}

// newHelp makes `fairlead help run`, which is `fairlead run --help`.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Show the help of a command",
		GroupID: "common",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return cli.UnknownCommand(found, rest)
			}
			return found.Help()
		},
	}
}

// plainUseLines keeps cobra from adding a word for the flags, which the use lines name themselves.
func plainUseLines(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUseLines(sub)
	}
}
