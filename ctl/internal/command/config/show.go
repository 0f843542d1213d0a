package config

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// value is a line of what `config show` prints. The fields may be used in a template.
type value struct {
	Key    string
	Value  string
	Origin string
	Reload string
}

// Row is a line of the list, for those who complete templates.
func Row() any { return value{} }

const columns = "{{.Key}}\t{{.Value}}\t{{.Origin}}\t{{.Reload}}"

func newShow(c *cli.CLI) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:     "show [OPTIONS]",
		Aliases: []string{"effective"},
		Short:   "Show the values in effect, and where each came from",
		Long: `Show the values in effect, and where each came from. A key with a list has a line for each of its elements.
The last column tells which keys "fairlead config reload" applies; for the others the agent must be restarted.

A template for --format has .Key .Value .Origin and .Reload; "table TEMPLATE" makes a table of it.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd.Context(), c, text) },
	}
	cmd.Flags().StringVarP(&text, "format", "f", format.Table, "table, json, or a Go `TEMPLATE`")
	return cmd
}

func show(ctx context.Context, c *cli.CLI, text string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Config.GetConfig(ctx, &agentv1.GetConfigRequest{})
	if err != nil {
		return err
	}
	rows := []value{}
	for _, s := range res.GetSettings() {
		reload := "no"
		if s.GetReloadable() {
			reload = "yes"
		}
		for _, v := range s.GetValues() {
			rows = append(rows, value{s.GetKey(), v.GetText(), v.GetOrigin(), reload})
		}
	}
	return format.Print(c.Screen(), text, columns, value{"KEY", "VALUE", "FROM", "RELOAD"}, rows)
}
