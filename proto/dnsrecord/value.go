package dnsrecord

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of TXT records.
const (
	maxText  = 255  // of one text
	maxTexts = 4000 // of all texts of a record
)

// Value returns the parsed data.
func (r Record) Value() (Value, error) { return parseValue(r.Type, r.Data) }

func parseValue(t Type, data string) (v Value, err error) {
	data = strings.TrimSpace(data)
	switch t {
	case A, AAAA:
		v.Address, err = parseAddress(t, data)
	case CNAME, PTR:
		v.Target, err = parseTarget(data)
	case SRV:
		v, err = parseService(data)
	case TXT:
		v.Texts, err = parseTexts(data)
	}
	return v, err
}

func parseAddress(t Type, data string) (netip.Addr, error) {
	a, err := netip.ParseAddr(data)
	if err != nil || a.Zone() != "" || a.Is4() != (t == A) || a.Is4In6() {
		family := "IPv4"
		if t == AAAA {
			family = "IPv6"
		}
		return netip.Addr{}, fmt.Errorf("%q is not an %s address", data, family)
	}
	return a, nil
}

func parseTarget(data string) (string, error) {
	if _, err := netip.ParseAddr(data); err == nil {
		return "", fmt.Errorf("%q is an address, not a name", data)
	}
	name, err := parseHost(data)
	if err != nil {
		return "", fmt.Errorf("target %q is not a valid name: %w", data, err)
	}
	return name, nil
}

func parseService(data string) (v Value, err error) {
	words := strings.Fields(data)
	if len(words) != 4 {
		return v, fmt.Errorf("%q is not PRIORITY WEIGHT PORT TARGET", data)
	}
	for i, field := range []*uint16{&v.Priority, &v.Weight, &v.Port} {
		n, err := strconv.ParseUint(words[i], 10, 16)
		if err != nil {
			return v, fmt.Errorf("%q is not a number from 0 to 65535", words[i])
		}
		*field = uint16(n)
	}
	if v.Target = "."; words[3] != "." {
		v.Target, err = parseTarget(words[3])
	}
	return v, err
}

// parseTexts parses quoted texts as in a zone file, or one text without quotes.
func parseTexts(data string) (texts []string, err error) {
	if !utf8.ValidString(data) {
		return nil, fmt.Errorf("the text is not valid UTF-8")
	}
	if !strings.HasPrefix(data, `"`) {
		texts = splitText(data)
	} else if texts, err = parseQuoted(data); err != nil {
		return nil, err
	}

	size := 0
	for _, text := range texts {
		if size += len(text); len(text) > maxText {
			return nil, fmt.Errorf("a text has %d bytes, the limit is %d", len(text), maxText)
		}
	}
	if size = max(size, len(texts)); size > maxTexts { // texts can be empty
		return nil, fmt.Errorf("the texts have %d bytes, the limit is %d", size, maxTexts)
	}
	return texts, nil
}

// splitText divides a long text, as programs join the texts of a record.
func splitText(text string) (parts []string) {
	for len(text) > maxText {
		parts, text = append(parts, text[:maxText]), text[maxText:]
	}
	return append(parts, text)
}

// parseQuoted parses `"one" "two"` with the escapes \", \\ and \DDD.
func parseQuoted(data string) (texts []string, err error) {
	for data != "" {
		if data[0] != '"' {
			return nil, fmt.Errorf("a text is not quoted after %d others", len(texts))
		}
		var text []byte
		i, closed := 1, false
		for ; i < len(data) && !closed; i++ {
			switch c := data[i]; c {
			case '"':
				closed = true
			case '\\':
				n, b, ok := unescape(data[i+1:])
				if !ok {
					return nil, fmt.Errorf(`a text has an invalid escape, write \", \\ or \DDD`)
				}
				text, i = append(text, b), i+n
			default:
				text = append(text, c)
			}
		}
		if !closed {
			return nil, fmt.Errorf("the quote of a text is not closed")
		}
		texts, data = append(texts, string(text)), strings.TrimSpace(data[i:])
	}
	return texts, nil
}

// unescape returns the byte after a backslash, and the length of the escape.
func unescape(after string) (length int, b byte, ok bool) {
	if after == "" {
		return 0, 0, false
	}
	if after[0] < '0' || after[0] > '9' {
		return 1, after[0], after[0] == '"' || after[0] == '\\'
	}
	if len(after) < 3 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(after[:3], 10, 8)
	return 3, byte(n), err == nil
}

// Escape returns a text with the escapes of a zone file, in ASCII.
func Escape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// text returns the canonical data.
func (v Value) text(t Type) string {
	switch t {
	case A, AAAA:
		return v.Address.String()
	case SRV:
		return fmt.Sprintf("%d %d %d %s", v.Priority, v.Weight, v.Port, v.Target)
	case TXT:
		var all []string
		for _, text := range v.Texts {
			all = append(all, `"`+Escape(text)+`"`)
		}
		return strings.Join(all, " ")
	case CNAME, PTR:
	}
	return v.Target
}
