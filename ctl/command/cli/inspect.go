package cli

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/fairlead/fairlead/ctl/format"
	"github.com/fairlead/fairlead/ctl/inspect"
)

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
			c.Fail(err)
			continue
		}
		documents = append(documents, d)
	}
	if err := c.printDocuments(text, documents); err != nil {
		return err
	}
	if failed {
		return Silently(Failed)
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
