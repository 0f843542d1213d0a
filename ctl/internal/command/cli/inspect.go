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

// InspectCommand returns the inspect command for one kind of object.
func (c *CLI) InspectCommand(kind string,
	get func(context.Context, *client.Client, string) (any, error)) *cobra.Command {
	var text string
	upper := strings.ToUpper(kind)
	cmd := &cobra.Command{
		Use:   fmt.Sprintf("inspect [OPTIONS] %s [%s...]", upper, upper),
		Short: fmt.Sprintf("Show details of one or more %ss as JSON", kind),
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
		cmd.Flags().BoolP("verbose", "v", false, "Accepted for Docker compatibility; no effect")
	}

	cmd.Flags().StringVarP(&text, "format", "f", "", "Output format: json or a Go template")
	return cmd
}

// Inspect prints the documents of the named objects as a JSON array, or the result of a template
// for each. Errors are printed, and the exit code is then 1.
func (c *CLI) Inspect(ctx context.Context, names []string, text string,
	get func(context.Context, string) (any, error)) error {
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
		// A template can use the names of Go's fields or those of the JSON, such as .Id.
		var out bytes.Buffer
		err := format.Execute(&out, t, d)
		if err != nil && format.Execute(&out, t.Option("missingkey=error"), generic(d)) != nil {
			return err
		}
		c.Printf("%s", out.String())
	}

	return nil
}

// generic returns a document as a map, decoded from its JSON. Numbers keep all their digits.
func generic(d any) (m map[string]any) {
	if text, err := json.Marshal(d); err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		_ = decoder.Decode(&m)
	}
	return m
}
