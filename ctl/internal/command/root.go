// Package command is the fairlead command line: the root command and the function that runs it. The
// commands are in the packages below.
package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/proto/version"
)

// Run runs one command line and returns the exit code. ctx is the context of c.Interrupts.Listen.
func Run(ctx context.Context, c *cli.CLI, args []string) int {
	defer c.Close()
	root := newRoot(c)
	addCommand(c, root, args)
	plainUseLines(root)
	if completes(args) {
		addCompletions(c, root)
	}

	root.SetArgs(args)
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case errors.Is(err, pflag.ErrHelp): // -h, where a command has no such flag
		err = cmd.Help()
	case isFlagError(err): // a flag before the command: cobra does not call the flag error function
		err = cli.FlagError(cmd, err)
	}

	return c.ExitCode(ctx, err)
}

// isFlagError reports whether err is an error of pflag.
func isFlagError(err error) bool {
	switch err.(type) {
	case *pflag.NotExistError, *pflag.ValueRequiredError, *pflag.InvalidValueError, *pflag.InvalidSyntaxError:
		return true
	}
	return false
}

// newRoot returns the root command without subcommands.
func newRoot(c *cli.CLI) *cobra.Command {
	root := &cobra.Command{
		Use:   "fairlead [OPTIONS] COMMAND",
		Short: "Run containers and manage their networks",
		Long: `Run containers and manage their networks.

The agent address is taken from --host, then ` + cli.EnvHost + `, then
` + client.DefaultHost + `. TLS files are in ` + cli.CertificatesVariable + `, or ~/.fairlead.
A manager of a fleet runs a command on the host at --node or ` + cli.EnvNode + `.`,
		Version:          version.Version,
		Args:             cobra.ArbitraryArgs,
		RunE:             cli.UnknownCommand,
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true, // -H can precede the command
	}
	f := root.PersistentFlags()
	f.StringVarP(&c.Host, "host", "H", "", "Agent address: unix:///PATH or tcp://HOST:PORT")
	f.StringVar(&c.Node, "node", "", "Host of the fleet that runs the command, through a manager")
	f.BoolVar(&c.TLS.Verify, "tlsverify", false, "Use TLS and verify the agent's certificate")
	f.StringVar(&c.TLS.CA, "tlscacert", "", "CA certificate file (default: ca.pem in the TLS directory)")
	f.StringVar(&c.TLS.Cert, "tlscert", "", "Client certificate file (default: cert.pem)")
	f.StringVar(&c.TLS.Key, "tlskey", "", "Client key file (default: key.pem)")
	f.BoolVarP(&c.Debug, "debug", "D", false, "Print each launch step")
	f.Bool("help", false, "Print usage") // no shorthand: -h is --hostname of run
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Usage = "Print version information"
	root.SetFlagErrorFunc(cli.FlagError)
	root.Flags().SetInterspersed(false) // the flags of an unknown command are not parsed
	addHelpFunctions()
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpCommand(newHelp())
	root.SetCompletionCommandGroupID(common)
	root.AddGroup(&cobra.Group{ID: manage, Title: "Management Commands:"},
		&cobra.Group{ID: common, Title: "Commands:"})
	return root
}

// newHelp returns the help command: `fairlead help run` is `fairlead run --help`.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Help about a command",
		GroupID: common,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return cli.UnknownCommand(found, rest)
			}
			return found.Help()
		},
	}
}

// plainUseLines prevents cobra from adding [flags] to the use lines, which have [OPTIONS].
func plainUseLines(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUseLines(sub)
	}
}
