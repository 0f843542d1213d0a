// Package processlist lists the processes of a container as ps does, from /proc of the host. It
// executes no program. Package run calls it.
package processlist

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Table is a list of processes.
type Table struct {
	Titles []string
	Rows   [][]string
}

// List lists processes by their IDs on the host. args are options of ps: -ef (the default), aux, or
// -o with column names. Processes that have ended meanwhile are omitted.
func List(pids []int, args []string) (Table, error) {
	picked, err := parse(args)
	if err != nil {
		return Table{}, err
	}

	h := readHost()
	t := Table{Rows: [][]string{}}
	for _, c := range picked {
		t.Titles = append(t.Titles, c.title)
	}

	for _, pid := range pids {
		p, ok := readProcess(pid)
		if !ok {
			continue
		}
		row := make([]string, 0, len(picked))
		for _, c := range picked {
			row = append(row, c.value(p, h))
		}
		t.Rows = append(t.Rows, row)
	}

	return t, nil
}

// parse returns the columns of ps options.
func parse(args []string) ([]column, error) {
	var picked []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		list, isList := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "e"), "o")
		switch {
		case slices.Contains([]string{"-ef", "-f", "-e", "-A", "-Af", "-eF"}, arg):
			picked = full
		case slices.Contains([]string{"aux", "-aux", "au", "u", "ux"}, arg):
			picked = aux
		case isList && list == "" && i+1 < len(args):
			i++
			picked = append(slices.Clip(chosen(picked)), strings.Split(args[i], ",")...)
		case isList && list != "":
			picked = append(slices.Clip(chosen(picked)), strings.Split(list, ",")...)
		default:
			return nil, fault.New(fault.Invalid, "ps option "+arg, "is not supported", fault.WithField("ps-args"),
				fault.WithHint("use -ef, aux, or -o with a list of columns"))
		}
	}

	if len(picked) == 0 {
		picked = full
	}

	return find(picked)
}

// chosen returns columns of an earlier -o; those of -ef and aux are replaced.
func chosen(picked []string) []string {
	if slices.Equal(picked, full) || slices.Equal(picked, aux) {
		return nil
	}
	return picked
}

// find returns columns by name. A title can be set with NAME=TITLE.
func find(names []string) ([]column, error) {
	var out []column
	for _, name := range names {
		name, title, titled := strings.Cut(strings.TrimSpace(name), "=")
		i := slices.IndexFunc(columns, func(c column) bool { return slices.Contains(c.names, name) })
		if i < 0 {
			return nil, fault.New(fault.Invalid, "ps column "+name, "is not supported", fault.WithField("ps-args"),
				fault.WithHint("use %s", allNames()))
		}
		c := columns[i]
		if titled {
			c.title = title
		}
		out = append(out, c)
	}
	return out, nil
}

func allNames() string {
	var out []string
	for _, c := range columns {
		out = append(out, c.names[0])
	}
	return strings.Join(out, ", ")
}
