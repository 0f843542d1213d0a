package config

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
)

// value is a row of `config show`. Its fields can be used in templates.
type value struct {
	Key    string
	Value  string
	Origin string
	Reload string
}

// Row returns an empty row, for the completion of templates.
func Row() any { return value{} }

const columns = "{{.Key}}\t{{.Value}}\t{{.Origin}}\t{{.Reload}}"

func newShow(c *cli.CLI) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:     "show [OPTIONS]",
		Aliases: []string{"effective"},
		Short:   "Show the effective configuration and its sources",
		Long: `Show the effective configuration and its sources.

A list has one line for each element. RELOAD shows whether a reload applies the key.

Template fields: .Key .Value .Origin .Reload. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd.Context(), c, text) },
	}
	cmd.Flags().StringVarP(&text, "format", "f", format.Table, "Output format: table, json or a Go template")
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
