package change

import (
	"strconv"
	"strings"
)

// keyValues parses the arguments of ENV and LABEL: K=V K2="V 2". It also accepts the old form K V,
// one pair whose value is the rest of the line.
func keyValues(s string) (pairs [][2]string, why string) {
	all, why := words(s)
	if why != "" {
		return nil, why
	}

	if first := strings.Fields(s)[0]; !strings.Contains(first, "=") {
		_, rest, found := strings.Cut(s, " ")
		if !found || len(all) < 2 {
			return nil, "requires KEY=VALUE, got " + strconv.Quote(s)
		}
		if strings.ContainsAny(first, `"'`) {
			return nil, "requires a name without quotes before the value, got " + first
		}
		return [][2]string{{first, strings.TrimSpace(rest)}}, ""
	}

	for _, w := range all {
		k, v, found := strings.Cut(w, "=")
		if !found || k == "" {
			return nil, "requires KEY=VALUE, got " + strconv.Quote(w)
		}
		pairs = append(pairs, [2]string{k, v})
	}

	return pairs, ""
}

// words splits a text at unquoted spaces and removes the quotes. A backslash escapes the next
// character, except in single quotes.
func words(s string) (out []string, why string) {
	var word strings.Builder
	var quote rune
	in, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			in, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			in, quote = true, r
		case r == ' ' || r == '\t' || r == '\n':
			if in {
				out = append(out, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(r)
		}
	}

	switch {
	case quote != 0:
		return nil, "contains an unclosed quote"
	case escaped:
		return nil, "ends with a backslash"
	case in:
		out = append(out, word.String())
	}

	return out, ""
}
