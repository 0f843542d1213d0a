// Package config holds the commands about the agent's configuration. What the keys mean is package agent/config's.
package config

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

// Group is `fairlead config`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("config", "Show, check and reload the agent's configuration", newShow(c), newCheck(c), newReload(c))
}

// fail prints each of the errors that are joined in err on a line, and ends the program.
func fail(c *cli.CLI, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			_ = fail(c, one)
		}
	} else {
		c.PrintError(err)
	}
	return cli.ExitWithCode(cli.ExitFailure)
}
