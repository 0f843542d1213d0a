package iptables

import (
	"context"
	"strings"
)

// contents holds the rules of a family by table and chain, in iptables-save format.
type contents map[string]map[string][]string

// read returns the rules of the tables that exist.
func (f family) read(ctx context.Context) (contents, error) {
	text, err := f.run(ctx, "", f.tool("save"))
	if err != nil {
		return nil, err
	}
	return parseSaved(text), nil
}

// parseSaved parses the output of iptables-save and skips other lines.
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

// target returns the target of a rule: the chain or extension after -j or -g.
func target(rule string) string {
	words := strings.Fields(rule)
	for i := len(words) - 2; i >= 0; i-- {
		if words[i] == "-j" || words[i] == "-g" {
			return words[i+1]
		}
	}
	return ""
}
