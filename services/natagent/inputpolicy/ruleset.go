package inputpolicy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// parseRuleset reads what `nft -j list table` prints: the tables that have chains at the input hook and are kept by nobody's iptables.
// Of a chain that nft does not show in full nothing is certain.
func parseRuleset(text []byte) ([]table, error) {
	var doc struct {
		Objects []struct {
			Chain *struct{ Family, Table, Name, Hook, Policy string } `json:"chain"`
			Rule  *struct {
				Family, Table, Chain string
				Expr                 []map[string]json.RawMessage
			} `json:"rule"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read nft's ruleset: %w", err)
	}
	var all []table
	byName := map[string]table{}
	for _, o := range doc.Objects {
		switch {
		case o.Chain != nil:
			key := o.Chain.Family + " " + o.Chain.Table
			t, there := byName[key]
			if !there {
				t = table{family: o.Chain.Family, name: o.Chain.Table, chains: map[string]*chain{}}
				byName[key] = t
				all = append(all, t)
			}
			t.chains[o.Chain.Name] = &chain{base: o.Chain.Hook == "input", policy: o.Chain.Policy}
		case o.Rule != nil:
			t := byName[o.Rule.Family+" "+o.Rule.Table]
			if c := t.chains[o.Rule.Chain]; c != nil {
				c.rules = append(c.rules, rulesOf(o.Rule.Expr)...)
			}
		}
	}
	return all, nil
}

// rulesOf makes of a rule's expressions one rule, or one for each verdict of a map.
func rulesOf(exprs []map[string]json.RawMessage) (out []rule) {
	var r rule
	for _, e := range exprs {
		for name, value := range e {
			switch name {
			case "match":
				r.conditions = append(r.conditions, matchOf(value))
			case "counter", "log", "comment", "mangle":
			case accept, drop, back:
				return append(out, rule{r.conditions, name, ""})
			case "reject":
				return append(out, rule{r.conditions, drop, ""})
			case jump, leap:
				var to struct{ Target string }
				_ = json.Unmarshal(value, &to) // without a name there is no such chain, and nothing is certain
				return append(out, rule{r.conditions, name, to.Target})
			case "vmap":
				out = append(out, verdicts(value, r.conditions)...)
			default: // a limit, or something that is not known
				r.conditions = append(r.conditions, func(Packet) answer { return maybe })
			}
		}
	}
	return out
}

// verdicts are the rules of a map from values to verdicts.
func verdicts(value json.RawMessage, before []condition) (out []rule) {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][2]json.RawMessage }
	}
	unknown := func(Packet) answer { return maybe }
	if json.Unmarshal(value, &m) != nil || m.Data.Set == nil {
		return []rule{{append(before[:len(before):len(before)], unknown), accept, ""}}
	}
	for _, pair := range m.Data.Set {
		var verdict map[string]json.RawMessage
		if json.Unmarshal(pair[1], &verdict) != nil {
			continue
		}
		key, right := m.Key, pair[0]
		matches := func(p Packet) answer { return compare(p, key, right) }
		for _, r := range rulesOf([]map[string]json.RawMessage{verdict}) {
			r.conditions = append(before[:len(before):len(before)], matches)
			out = append(out, r)
		}
	}
	return out
}

func matchOf(value json.RawMessage) condition {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(value, &m) != nil {
		return func(Packet) answer { return maybe }
	}
	return func(p Packet) answer {
		a := compare(p, m.Left, m.Right)
		switch m.Op {
		case "==", "in":
			return a
		case "!=":
			return a.not()
		}
		return maybe
	}
}

// compare tells whether a packet's field has a value, or one of several.
func compare(p Packet, left, right json.RawMessage) answer {
	var field struct {
		Meta    *struct{ Key string }
		Payload *struct{ Protocol, Field string }
		CT      *struct{ Key string } `json:"ct"`
	}
	if json.Unmarshal(left, &field) != nil {
		return maybe
	}
	switch {
	case field.Meta != nil:
		return metaIs(p, field.Meta.Key, right)
	case field.Payload != nil:
		return payloadIs(p, field.Payload.Protocol, field.Payload.Field, right)
	case field.CT != nil && field.CT.Key == "state":
		return anyOf(right, func(s string) answer { return of(s == "new") })
	case field.CT != nil && field.CT.Key == "status": // it was not translated, else it were not for the host
		return anyOf(right, func(s string) answer { return of(s != "dnat" && s != "snat") })
	}
	return maybe
}

func metaIs(p Packet, key string, right json.RawMessage) answer {
	switch key {
	case "l4proto":
		return anyOf(right, func(s string) answer { return of(s == string(p.Protocol)) })
	case "iifname", "iif":
		return anyOf(right, func(s string) answer { return comesBy(p, strings.Replace(s, "*", "+", 1)) })
	case "nfproto":
		return anyOf(right, func(s string) answer { return of((s == "ipv4") == p.Target.Addr().Is4()) })
	}
	return maybe
}

func payloadIs(p Packet, proto, field string, right json.RawMessage) answer {
	address := map[string]netip.Addr{"saddr": p.Source, "daddr": p.Target.Addr()}
	switch {
	case field == "dport" && (proto == "th" || proto == string(p.Protocol)):
		return anyOf(right, func(s string) answer { return of(inPorts(p.Target.Port(), s)) })
	case field == "dport":
		return no // another transport's
	case (proto == "ip" || proto == "ip6") && address[field].IsValid():
		return anyOf(right, func(s string) answer { return of(within(address[field], s)) })
	case proto == "icmp", proto == "icmpv6":
		return no
	}
	return maybe
}

// anyOf asks of each value that stands on the right side, written as "80", "80:90" or "10.0.0.0/8".
func anyOf(right json.RawMessage, is func(string) answer) answer {
	var text string
	var number float64
	var list []json.RawMessage
	var more struct {
		Set    []json.RawMessage
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	switch {
	case json.Unmarshal(right, &text) == nil && strings.HasPrefix(text, "@"):
		return maybe
	case json.Unmarshal(right, &text) == nil:
		return is(text)
	case json.Unmarshal(right, &number) == nil:
		return is(fmt.Sprint(int(number)))
	case json.Unmarshal(right, &list) == nil:
		return most(list, is)
	case json.Unmarshal(right, &more) != nil:
		return maybe
	case more.Prefix != nil:
		return is(fmt.Sprintf("%s/%d", more.Prefix.Addr, more.Prefix.Len))
	case len(more.Range) == 2:
		first, last := strings.Trim(string(more.Range[0]), `"`), strings.Trim(string(more.Range[1]), `"`)
		if strings.ContainsAny(first, ".:") {
			return maybe // of addresses
		}
		return is(first + ":" + last)
	case more.Set != nil:
		return most(more.Set, is)
	}
	return maybe
}

func most(all []json.RawMessage, is func(string) answer) answer {
	best := no
	for _, one := range all {
		best = max(best, anyOf(one, is))
	}
	return best
}
