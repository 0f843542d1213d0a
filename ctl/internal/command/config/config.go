// Package config holds the config commands. Package agent/config defines the keys.
package config

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

// Group returns the command `fairlead config`.
func Group(c *cli.CLI) *cobra.Command {
	return cli.Group("config", "Manage the agent's configuration", newShow(c), newCheck(c), newReload(c))
}

// fail prints each error that is joined in err on its own line and returns an error for exit code
// 1.
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
