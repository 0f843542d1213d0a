package config

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/config/file"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

func newCheck(c *cli.CLI) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell everything that is wrong with a configuration file",
		Long: `Tell everything that is wrong with a configuration file, with its lines, and what to do about it; without a FILE,
with ` + file.DefaultPath + `. The agent is not asked, and what
it is given by its environment and its flags is not looked at: "fairlead-agent --validate" does that.`,
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
