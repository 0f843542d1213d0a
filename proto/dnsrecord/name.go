package dnsrecord

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Limits of DNS.
const (
	maxName  = 253
	maxLabel = 63
)

// wildcard is the first label of a wildcard name with its dot.
const wildcard = "*."

// ParseName returns the canonical form of a name or of a wildcard such as *.dev.example.
func ParseName(text string) (string, error) {
	base, isWildcard := strings.CutPrefix(strings.TrimSpace(text), wildcard)
	name, err := parseHost(base)
	if err != nil {
		return "", fmt.Errorf("%q is not a valid name: %w", text, err)
	}
	if !isWildcard {
		return name, nil
	}
	if len(name) > maxName-len(wildcard) {
		return "", fmt.Errorf("%q is not a valid name: longer than %d bytes", text, maxName)
	}
	return wildcard + name, nil
}

// IsWildcard reports whether a canonical name is a wildcard.
func IsWildcard(name string) bool { return strings.HasPrefix(name, wildcard) }

// parseHost returns the canonical form of a name. Wildcards are refused.
func parseHost(text string) (string, error) {
	name := strings.TrimSuffix(text, ".")
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("not an internationalized name")
		}
		name = ascii
	}
	name = strings.ToLower(name)

	switch {
	case name == "":
		return "", fmt.Errorf("it is empty")
	case len(name) > maxName:
		return "", fmt.Errorf("longer than %d bytes", maxName)
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("* must be the whole first label")
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	return name, nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("a label is empty")
	case len(label) > maxLabel:
		return fmt.Errorf("a label is longer than %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("a label starts or ends with a dash")
	case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return fmt.Errorf("labels have letters, digits, - and _")
	}
	for _, c := range []byte(label) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return fmt.Errorf("labels have letters, digits, - and _")
		}
	}
	return nil
}

// ReverseName returns the name of the PTR record of an address.
func ReverseName(a netip.Addr) string { return reverse(netip.PrefixFrom(a, a.BitLen())) }

// reverse returns the domain of the PTR records of a range of whole labels.
func reverse(p netip.Prefix) string {
	const digits = "0123456789abcdef"
	bytes := p.Addr().AsSlice()
	var labels []string
	if p.Addr().Is4() {
		for i := p.Bits()/8 - 1; i >= 0; i-- {
			labels = append(labels, fmt.Sprint(bytes[i]))
		}
		return strings.Join(append(labels, "in-addr", "arpa"), ".")
	}
	for i := p.Bits()/4 - 1; i >= 0; i-- {
		labels = append(labels, string(digits[bytes[i/2]>>(4*(1-i%2))&0xf]))
	}
	return strings.Join(append(labels, "ip6", "arpa"), ".")
}

// ParseDomain returns the canonical form of a domain: "." for all names, and the domain of PTR records
// for a range of addresses such as 10.0.0.0/8.
func ParseDomain(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "." {
		return ".", nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		step := 8
		if p.Addr().Is6() {
			step = 4
		}
		if p.Bits()%step != 0 || p.Bits() == 0 || p != p.Masked() {
			return "", fmt.Errorf("range %s does not end at a label of PTR names, use a prefix length that %d divides",
				text, step)
		}
		return reverse(p), nil
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return "", fmt.Errorf("%q is an address, not a domain", text)
	}
	name, err := parseHost(strings.TrimPrefix(text, "."))
	if err != nil {
		return "", fmt.Errorf("%q is not a valid domain: %w", text, err)
	}
	return name, nil
}
