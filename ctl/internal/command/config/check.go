package config

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/config/file"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

func newCheck(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Validate a configuration file",
		Long: `Validate a configuration file.

The default FILE is ` + file.DefaultPath + `. Errors are printed with their lines. The agent is not
contacted; "fairlead-agent --validate" also checks its environment and flags.`,
		Args: cli.RangeArgs(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{file.DefaultPath}
			}
			return check(c, args[0])
		},
	}
}

func check(c *cli.CLI, path string) error {
	warnings, err := file.Check(path)
	c.Warn(warnings...)
	if err != nil {
		return fail(c, err)
	}
	c.Printf("%s: OK\n", path)
	return nil
}
