package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/inspect"
)

// InspectCommand makes the inspect command of one kind of object.
func (c *CLI) InspectCommand(kind string, get func(context.Context, *client.Client, string) (any, error)) *cobra.Command {
	var text string
	upper := strings.ToUpper(kind)
	cmd := &cobra.Command{
		Use:   fmt.Sprintf("inspect [OPTIONS] %s [%s...]", upper, upper),
		Short: fmt.Sprintf("Show all that is known of one or more %ss, as JSON", kind),
		Args:  MinArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			cl, err := c.Client()
			if err != nil {
				return err
			}
			return c.Inspect(cmd.Context(), names, text, func(ctx context.Context, name string) (any, error) {
				return get(ctx, cl, name)
			})
		},
	}
	if kind == "network" {
		cmd.Flags().BoolP("verbose", "v", false, "Accepted for Docker compatibility: all is shown anyway")
	}
	cmd.Flags().StringVarP(&text, "format", "f", "", "Print what this Go `TEMPLATE` makes of each "+kind)
	return cmd
}

// Inspect prints the documents of the named objects: as one JSON array, or what a template makes of each. Objects that cannot be found are
// said on standard error, and make the exit code 1.
func (c *CLI) Inspect(ctx context.Context, names []string, text string, get func(context.Context, string) (any, error)) error {
	documents, failed := []any{}, false
	for _, name := range names {
		d, err := get(ctx, name)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = true
			c.PrintError(err)
			continue
		}
		documents = append(documents, d)
	}
	if err := c.printDocuments(text, documents); err != nil {
		return err
	}
	if failed {
		return ExitWithCode(ExitFailure)
	}
	return nil
}

func (c *CLI) printDocuments(text string, documents []any) error {
	if text == "" || text == format.JSON {
		array, err := inspect.Indent(documents)
		if err == nil {
			c.Println(string(array))
		}
		return err
	}
	t, err := format.Template(text)
	if err != nil {
		return err
	}
	for _, d := range documents {
		// A template may use the names of Go's fields or those of the JSON, such as .Id.
		var out bytes.Buffer
		err := format.Execute(&out, t, d)
		if err != nil && format.Execute(&out, t.Option("missingkey=error"), generic(d)) != nil {
			return err
		}
		c.Printf("%s", out.String())
	}
	return nil
}

// generic is a document as JSON's own types.
func generic(d any) (m map[string]any) {
	if text, err := json.Marshal(d); err == nil {
		_ = json.Unmarshal(text, &m)
	}
	return m
}
