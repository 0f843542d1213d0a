package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxRules bounds the rules of one container.
const maxRules = 1000

// Parse parses the values of `--egress`. Each is a list of rules with commas:
//
//	[!]PEER[:PORT[-PORT]][/PROTOCOL][/any-name]
//
// PEER is a name, *.SUFFIX, an address, a CIDR, IPv6 in brackets, container:NAME, network:NAME,
// label:KEY[=VALUE], or one of the words host, internet, lan, metadata, dns, all and observe. Without a
// protocol, ports are those of TCP and UDP. "none" alone allows nothing. A name that is close to a word is
// refused; with a final dot it is a name. No value gives a nil policy. All errors are returned together.
func Parse(values []string) (Policy, error) {
	if len(values) == 0 {
		return nil, nil
	}

	var texts []string
	for _, v := range values {
		texts = append(texts, strings.Split(v, ",")...)
	}
	if len(texts) > maxRules {
		return nil, fmt.Errorf("%d rules, at most %d are possible", len(texts), maxRules)
	}

	policy, none := make(Policy, 0, len(texts)), false
	var faults []error
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if strings.EqualFold(text, Empty) {
			none = true
			continue
		}
		rule, err := parseRule(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("rule %q: %w", text, err))
			continue
		}
		policy = append(policy, rule)
	}

	if none && len(texts) > 1 {
		faults = append(faults, errors.New(`"none" allows nothing, so it cannot be combined with other rules`))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}

	return policy, nil
}

// parseRule parses one rule.
func parseRule(text string) (r Rule, err error) {
	rest, deny := strings.CutPrefix(text, "!")
	r.Deny = deny
	rest, r.AnyName = strings.CutSuffix(rest, AnyName)
	if err := checkShape(rest); err != nil {
		return r, err
	}

	kind, peer, ports, protocol, named, err := splitPeer(rest)
	if err != nil {
		return r, err
	}
	if named {
		r.Kind, r.Name = kind, peer
		r.Ports, err = parsePorts(ports, protocol)
		return r, errors.Join(checkPeer(kind, peer), err, r.checkServer())
	}
	peer, ports, protocol, err = split(rest)
	if err != nil {
		return r, err
	}
	if r.Ports, err = parsePorts(ports, protocol); err != nil {
		return r, err
	}
	if err = r.setPeer(peer); err != nil {
		return r, err
	}
	if r.Deny && (r.Kind == Observe || r.Kind == All && r.Ports == Ports{}) {
		return r, errors.New("what is not allowed is denied already, use none, or !all:25 for one port")
	}
	if (r.Kind == Observe || r.Kind == DNS) && r.Ports != (Ports{}) {
		return r, fmt.Errorf("%s has no ports", r.peer())
	}
	if r.Kind == DNS && r.Deny {
		return r, errors.New("names are refused without a rule that opens them")
	}

	return r, r.checkServer()
}

// checkShape rejects what is written for other programs: URLs, and ports without a peer.
func checkShape(text string) error {
	switch {
	case text == "":
		return errors.New("is empty")
	case strings.Contains(text, "://"):
		return errors.New("is a URL, write a name and a port: github.com:443")
	case strings.Trim(strings.TrimPrefix(text, ":"), "0123456789-") == "":
		return errors.New("is a port without a peer, write github.com:443, or all:443")
	}
	return nil
}

// split divides a rule. The protocol is after the last slash, if that is not
// the one of a prefix length.
func split(text string) (peer, ports, protocol string, err error) {
	if at := strings.LastIndexByte(text, '/'); at >= 0 && !startsWithDigit(text[at+1:]) {
		text, protocol = text[:at], text[at+1:]
		if protocol == "" {
			return "", "", "", errors.New("has no protocol after the slash")
		}
	}

	if inside, after, ok := strings.Cut(text, "]"); ok {
		peer, ok = strings.CutPrefix(inside, "[")
		ports, colon := strings.CutPrefix(after, ":")
		if length, isLength := strings.CutPrefix(after, "/"); ok && isLength {
			return "", "", "", fmt.Errorf("the prefix length is inside the brackets: [%s/%s]:443", peer, length)
		}
		if !ok || after != "" && !colon {
			return "", "", "", errors.New("brackets are for an IPv6 address: [2001:db8::1]:443")
		}
		return peer, ports, protocol, missing(colon, ports)
	}
	if strings.Count(text, ":") > 1 {
		return text, "", protocol, nil // IPv6 without brackets and ports
	}

	peer, ports, colon := strings.Cut(text, ":")
	return peer, ports, protocol, missing(colon, ports)
}

func missing(colon bool, ports string) error {
	if colon && ports == "" {
		return errors.New("has no port after the colon")
	}
	return nil
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// parsePorts parses a port or a range.
func parsePorts(text, protocol string) (p Ports, err error) {
	p.Protocol = Protocol(strings.ToLower(protocol))
	switch p.Protocol {
	case "", TCP, UDP, SCTP:
	case ICMP:
		if text != "" {
			return p, errors.New("icmp has no ports")
		}
	case QUIC:
		if text != "" && text != strconv.Itoa(PortTLS) {
			return p, errors.New("quic has port 443, use udp for another port")
		}
		p.First, p.Last = PortTLS, PortTLS
		return p, nil
	default:
		return p, fmt.Errorf("unknown protocol %q, must be tcp, udp, sctp, icmp or quic", protocol)
	}

	if text == "" {
		return p, nil
	}

	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a {
		return p, fmt.Errorf("invalid port %q, must be a port from 1 to 65535 or a range such as 8000-8010", text)
	}

	p.First, p.Last = uint16(a), uint16(b)
	return p, nil
}

// suffix returns the ports as they are written.
func (p Ports) suffix() (text string) {
	switch {
	case p.First != p.Last:
		text = fmt.Sprintf(":%d-%d", p.First, p.Last)
	case p.First != 0:
		text = fmt.Sprintf(":%d", p.First)
	}
	if p.Protocol != "" {
		text += "/" + string(p.Protocol)
	}
	return text
}

// setPeer sets what the rule applies to.
func (r *Rule) setPeer(peer string) error {
	if kind, ok := wordKind(strings.ToLower(peer)); ok {
		r.Kind = kind
		return nil
	}

	if prefix, err := netip.ParsePrefix(peer); err == nil {
		if prefix.Addr().Is4In6() {
			return notPlain(peer)
		}
		if prefix != prefix.Masked() {
			return fmt.Errorf("%s has bits set after the prefix, must be %s", peer, prefix.Masked())
		}
		r.Kind, r.Prefix = Prefix, prefix
		return nil
	}
	if addr, err := netip.ParseAddr(peer); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return notPlain(peer)
		}
		r.Kind, r.Prefix = Prefix, netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}

	name, err := parseName(peer)
	if err == nil && !strings.HasSuffix(peer, ".") {
		err = mistyped(name)
	}
	if err != nil {
		return err
	}

	r.Kind, r.Name = Domain, name
	return nil
}

// notPlain returns the error for an address in a form that no packet has.
func notPlain(peer string) error {
	return fmt.Errorf("address %s cannot be used, must be a plain IPv4 or IPv6 address", peer)
}

// parseName returns the canonical form of a name or a wildcard.
func parseName(text string) (string, error) {
	if text == "*" {
		return "", errors.New(`"*" matches no single domain, use internet or all`)
	}
	base, wildcard := strings.CutPrefix(strings.TrimSuffix(text, "."), "*.")
	if strings.Contains(base, "*") {
		return "", errors.New(`"*" is possible only as the first label: *.example.com`)
	}
	if strings.Contains(base, "..") || strings.HasSuffix(base, ".") || strings.HasPrefix(base, ".") {
		return "", fmt.Errorf("%q has an empty label", text)
	}
	if strings.Trim(base, "0123456789./") == "" {
		return "", fmt.Errorf("%q is not a name and not an address", text)
	}

	ascii, err := idna.Lookup.ToASCII(strings.ReplaceAll(base, "_", "x"))
	if err == nil && strings.Contains(base, "_") { // service names; IDNA does not know them
		ascii = strings.ToLower(base)
	}
	if err == nil && ascii != base {
		_, err = idna.Lookup.ToASCII(strings.ReplaceAll(ascii, "_", "x")) // some results are invalid themselves
	}
	if err != nil || strings.Trim(ascii, "0123456789.") == "" || len(ascii) > 253 {
		return "", fmt.Errorf("%q is not a valid name", text)
	}

	if wildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}
