package hostfirewall

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parseSave parses the filter table in the output of iptables-save.
func parseSave(family, text string) table {
	t := table{family: family, name: "filter", chains: map[string]*chain{}}
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			in = line == "*filter"
		case !in:
		case strings.HasPrefix(line, ":"):
			f := strings.Fields(line[1:])
			if len(f) > 1 {
				t.chains[f[0]] = &chain{base: f[0] == "INPUT", policy: strings.ToLower(f[1])}
			}
		case strings.HasPrefix(line, "-A "):
			words := split(line[len("-A "):])
			if c, r := t.chains[words[0]], parseRule(words[1:]); c != nil && r.verdict != "" {
				c.rules = append(c.rules, r)
			}
		}
	}

	return t
}

// split splits a line into words. Quoted text is one word.
func split(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	if len(words) == 0 {
		return []string{""}
	}
	return words
}

// parseRule parses the words of a rule.
func parseRule(words []string) rule {
	var r rule
	negated := false
	for i := 0; i < len(words); i++ {
		arg := ""
		if i+1 < len(words) {
			arg = words[i+1]
		}
		var c condition
		switch words[i] {
		case "!":
			negated = true
			continue
		case "-m": // its options follow
			i++
			continue
		case "-j", "-g":
			r.verdict, r.target = verdictOf(words[i], arg)
			return r
		case "--comment":
			i++
			continue
		default:
			c = conditionOf(words[i], arg)
		}
		if !strings.HasPrefix(arg, "-") {
			i++
		}
		if negated {
			positive := c
			c = func(p Packet) tristate { return positive(p).not() }
		}
		negated = false
		r.conditions = append(r.conditions, c)
	}

	return r
}

func verdictOf(option, target string) (verdict, chain string) {
	switch target {
	case "ACCEPT":
		return accept, ""
	case "DROP", "REJECT":
		return drop, ""
	case "RETURN":
		return back, ""
	case "LOG", "NFLOG", "MARK", "CONNMARK", "CT", "TRACE", "SET", "":
		return "", ""
	}

	if option == "-g" {
		return leap, target
	}

	return jump, target
}

// conditionOf parses an option and its value. Unknown options may or may not match.
func conditionOf(option, value string) condition {
	switch option {
	case "-p":
		return func(p Packet) tristate { return of(value == string(p.Protocol) || value == "all") }
	case "--dport", "--dports":
		return func(p Packet) tristate { return of(inPorts(p.Target.Port(), value)) }
	case "-s":
		return func(p Packet) tristate { return of(within(p.Source, value)) }
	case "-d":
		return func(p Packet) tristate { return of(within(p.Target.Addr(), value)) }
	case "-i":
		return func(p Packet) tristate { return comesBy(p, value) }
	case "--ctstate", "--state":
		return func(Packet) tristate { return of(slices.Contains(strings.Split(value, ","), "NEW")) }
	case "--dst-type":
		return func(Packet) tristate { return of(value == "LOCAL") }
	}

	return func(Packet) tristate { return maybe }
}

// comesBy compares the input interface. A name that ends in + is a prefix.
func comesBy(p Packet, name string) tristate {
	switch {
	case p.Interface == "" && name != "lo":
		return maybe
	case strings.HasSuffix(name, "+"):
		return of(strings.HasPrefix(p.Interface, strings.TrimSuffix(name, "+")))
	}
	return of(p.Interface == name)
}

// inPorts parses "22", "80:90" and "22,80:90".
func inPorts(port uint16, list string) bool {
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		b, berr := strconv.ParseUint(last, 10, 16)
		if err == nil && berr == nil && uint16(a) <= port && port <= uint16(b) {
			return true
		}
	}

	return false
}

func within(a netip.Addr, network string) bool {
	if p, err := netip.ParsePrefix(network); err == nil {
		return p.Contains(a)
	}
	b, err := netip.ParseAddr(network)
	return err == nil && a == b
}
