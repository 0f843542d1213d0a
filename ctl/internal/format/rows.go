package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/proto/fault"
)

// JSON and Table are the formats that are not templates. Table followed by a space and a template
// prints a table with the columns of that template.
const (
	JSON  = "json"
	Table = "table"
)

// Print writes rows in a format: JSON (one object on each line), a template (one result on each
// line) or a table. header is a row with the titles of the columns. columns is the template of the
// default table, its columns separated by tabs.
//
// The output is written as a whole: a table consists of many small pieces.
func Print[Row any](w io.Writer, format, columns string, header Row, rows []Row) error {
	var out bytes.Buffer
	err := printRows(&out, format, columns, header, rows)
	_, werr := w.Write(out.Bytes())
	return errors.Join(err, werr)
}

func printRows[Row any](w io.Writer, format, columns string, header Row, rows []Row) error {
	if format == JSON {
		return printJSON(w, rows)
	}

	text, table := format, false
	if rest, ok := strings.CutPrefix(format, Table); ok && (rest == "" || rest[0] == ' ') {
		table = true
		if text = strings.TrimSpace(rest); text == "" {
			text = columns
		}
	}

	t, err := Template(text)
	if err != nil {
		return err
	}
	if table {
		return printTable(w, t, append([]Row{header}, rows...))
	}

	return printEach(w, t, rows)
}

func printJSON[Row any](w io.Writer, rows []Row) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func printTable[Row any](w io.Writer, t *template.Template, rows []Row) error {
	// Docker's layout: three spaces between columns, at least ten characters for a column.
	tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	for i := range rows {
		oneLine(&rows[i])
	}
	if err := printEach(tw, t, rows); err != nil {
		return err
	}
	return tw.Flush()
}

// oneLine escapes line ends and control characters in the cells of a row.
func oneLine(row any) {
	v := reflect.ValueOf(row).Elem()
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if f := v.Field(i); f.CanSet() && f.Kind() == reflect.String {
			f.SetString(escape.Line(f.String()))
		}
	}
}

func printEach[Row any](w io.Writer, t *template.Template, rows []Row) error {
	for _, r := range rows {
		if err := Execute(w, t, r); err != nil {
			return err
		}
	}
	return nil
}

// Template parses a Go template with the additional functions json, join, split, lower and upper.
func Template(text string) (*template.Template, error) {
	// A shell passes \t and \n unchanged.
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("format").Funcs(template.FuncMap{
		"json": asJSON, "join": join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
	}).Parse(text)
	if err != nil {
		return nil, refused(err)
	}
	return t, nil
}

func refused(err error) error {
	return fault.New(fault.Invalid, "--format", "invalid template", fault.WithField("format"), fault.WithCause(err))
}

// Execute writes the result of a template for data, and a line end.
func Execute(w io.Writer, t *template.Template, data any) error {
	var line bytes.Buffer
	if err := t.Execute(&line, data); err != nil {
		return refused(err)
	}
	line.WriteByte('\n')
	_, err := w.Write(line.Bytes())
	return err
}

func asJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

func join(list []string, sep string) string { return strings.Join(list, sep) }
