package iptables

import (
	"context"
	"strings"
)

// contents is what is in a family's tables: by table and chain, the rules as iptables-save shows them.
type contents map[string]map[string][]string

// read lists the tables that there are.
func (f family) read(ctx context.Context) (contents, error) {
	text, err := f.run(ctx, "", f.tool("save"))
	if err != nil {
		return nil, err
	}
	return parseSaved(text), nil
}

// parseSaved reads what iptables-save prints. Lines that it does not understand are left out.
func parseSaved(text string) contents {
	all := contents{}
	var table map[string][]string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = map[string][]string{}
			all[line[1:]] = table
		case table == nil:
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			table[name] = nil
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			table[name] = append(table[name], rule)
		}
	}
	return all
}

// target is the chain that a rule leads to.
func target(rule string) string {
	words := strings.Fields(rule)
	for i := len(words) - 2; i >= 0; i-- {
		if words[i] == "-j" || words[i] == "-g" {
			return words[i+1]
		}
	}
	return ""
}
