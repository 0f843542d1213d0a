package complete

import (
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Format completes --format: words such as json and table, and templates with the fields of the
// rows.
func Format(words []string, rows ...any) Func {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before, path, inTemplate := cutLast(typed, "{{.")
		if !inTemplate {
			return offered(append(slices.Clone(words), fields(rows, "{{.", "")...), typed)
		}
		return offered(fields(rows, before+"{{.", path), typed)
	}
}

// cutLast cuts s at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// fields returns the fields of rows as completed templates. typed is a path whose last part can be
// incomplete. A field with fields of its own is also returned with a dot.
func fields(rows []any, before, typed string) []string {
	parents, _, deep := cutLast(typed, ".")
	var all []string
	for _, row := range rows {
		t := reflect.TypeOf(row)
		if deep {
			for name := range strings.SplitSeq(parents, ".") {
				t = fieldType(t, name)
			}
			before := before + parents + "."
			all = append(all, fieldsOf(t, before)...)
			continue
		}
		all = append(all, fieldsOf(t, before)...)
	}

	slices.Sort(all)
	return slices.Compact(all)
}

// fieldType returns the type of a field of a struct, or nil.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t = structType(t); t == nil {
		return nil
	}
	f, ok := t.FieldByName(name)
	if !ok {
		return nil
	}
	return f.Type
}

// structType returns t, or the struct that it points to, or nil if it is not a struct.
func structType(t reflect.Type) reflect.Type {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

func fieldsOf(t reflect.Type, before string) []string {
	var all []string
	if t = structType(t); t == nil {
		return nil
	}

	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		all = append(all, before+f.Name+"}}")
		if structType(f.Type) != nil {
			all = append(all, before+f.Name+".")
		}
	}

	return all
}
