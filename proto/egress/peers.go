package egress

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Words before a colon that make the rest a name of Fairlead: "container:db".
const (
	containerPrefix = "container"
	networkPrefix   = "network"
	labelPrefix     = "label"
)

// peerKinds are the kinds with a word before a colon.
func peerKinds() map[string]Kind {
	return map[string]Kind{containerPrefix: Container, networkPrefix: Network, labelPrefix: Label}
}

// Patterns of what is after the colon. Names are those of package container.
var (
	peerName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	labelKey   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_./-]*$`)
	labelValue = regexp.MustCompile(`^[a-zA-Z0-9_.-]*$`)
)

// splitPeer divides a rule such as "container:db:5432/tcp" or "label:app=web:80". ok is false for other
// rules.
func splitPeer(text string) (kind Kind, name, ports, protocol string, ok bool, err error) {
	word, rest, colon := strings.Cut(text, ":")
	if !colon {
		return 0, "", "", "", false, nil
	}
	kind, ok = peerKinds()[strings.ToLower(word)]
	if !ok {
		return 0, "", "", "", false, mistypedPeer(strings.ToLower(word), rest)
	}

	name, ports, colon = strings.Cut(rest, ":")
	slash := false
	if colon {
		ports, protocol, slash = strings.Cut(ports, "/")
	} else {
		name, protocol, slash = cutProtocol(name, kind)
	}
	if slash && protocol == "" {
		return kind, name, ports, protocol, true, errors.New("has no protocol after the slash")
	}
	return kind, name, ports, protocol, true, missing(colon, ports)
}

// mistypedPeer returns an error for a word before a name that is probably one of peerKinds.
func mistypedPeer(word, rest string) error {
	if startsWithDigit(rest) || len(word) > len(containerPrefix)+2 {
		return nil
	}
	for _, known := range []string{containerPrefix, networkPrefix, labelPrefix} {
		if distance(word, known) <= 2 {
			return fmt.Errorf("did you mean %s:%s?", known, rest)
		}
	}
	return nil
}

// cutProtocol divides "db/tcp". The slashes of a label's key, before "=", are part of it.
func cutProtocol(text string, kind Kind) (name, protocol string, found bool) {
	if kind != Label {
		return strings.Cut(text, "/")
	}
	key, value, hasValue := strings.Cut(text, "=")
	if !hasValue {
		at := strings.LastIndexByte(key, '/')
		if at < 0 || !isProtocol(key[at+1:]) {
			return text, "", false
		}
		return key[:at], key[at+1:], true
	}
	value, protocol, found = strings.Cut(value, "/")
	return key + "=" + value, protocol, found
}

func isProtocol(text string) bool {
	return slices.Contains([]Protocol{TCP, UDP, SCTP, ICMP}, Protocol(strings.ToLower(text)))
}

// checkPeer rejects a name that no container, network or label can have.
func checkPeer(kind Kind, name string) error {
	switch kind {
	case Label:
		key, value, _ := strings.Cut(name, "=")
		if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			return fmt.Errorf("%q is not a label, must be KEY or KEY=VALUE of letters, digits, and _.- (/ in the key)",
				name)
		}
		return nil
	case Container, Network:
		if !peerName.MatchString(name) {
			return fmt.Errorf("%q is not a valid name of a container or network", name)
		}
	}
	return nil
}

// IsPeer reports whether the rule names a container, a network or a label, whose addresses change.
func (r Rule) IsPeer() bool { return r.Kind == Container || r.Kind == Network || r.Kind == Label }

// Peer returns the peer as it is written: "label:app=web".
func (r Rule) Peer() string { return r.peer() }

// Peers returns the containers, networks and labels among the rules, sorted, each once.
func (p Policy) Peers() (all []string) {
	for _, r := range p {
		if r.IsPeer() {
			all = append(all, r.Peer())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ParsePeer parses a peer of Peers.
func ParsePeer(text string) (kind Kind, name string, err error) {
	word, name, _ := strings.Cut(text, ":")
	kind, ok := peerKinds()[word]
	if !ok {
		return 0, "", fmt.Errorf("%q is not a container, network or label", text)
	}
	return kind, name, checkPeer(kind, name)
}

// MatchesLabel reports whether labels have the label of a peer: "key", or "key=value".
func MatchesLabel(peer string, labels map[string]string) bool {
	key, value, hasValue := strings.Cut(peer, "=")
	have, ok := labels[key]
	return ok && (!hasValue || have == value)
}

// Limits of the labels of a container that rules of other hosts can name.
const (
	MaxLabels     = 128
	MaxLabelBytes = 16 << 10 // keys and values together
)

// otherValue stands for a value that no rule can name.
const otherValue = "*"

// NameableLabels returns the labels that rules can name, for the rules of other hosts. A value that no rule can
// name is "*". At most MaxLabels of MaxLabelBytes are returned, in the order of their keys; whole reports whether
// these are all.
func NameableLabels(labels map[string]string) (nameable map[string]string, whole bool) {
	whole = true
	size := 0
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !labelKey.MatchString(key) {
			continue
		}
		value := labels[key]
		if !labelValue.MatchString(value) {
			value = otherValue
		}
		if len(nameable) == MaxLabels || size+len(key)+len(value) > MaxLabelBytes {
			whole = false
			continue
		}
		if nameable == nil {
			nameable = map[string]string{}
		}
		size += len(key) + len(value)
		nameable[key] = value
	}
	return nameable, whole
}

// ParseIngress parses the values of `--ingress`. The grammar is that of Parse; peers are the sources of
// connections, and ports those of the container.
func ParseIngress(values []string) (Policy, error) {
	p, err := Parse(values)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, r := range p {
		if err := r.checkSource(); err != nil {
			faults = append(faults, fmt.Errorf("rule %q: %w", r, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return p, nil
}

// checkSource rejects what connections do not come from.
func (r Rule) checkSource() error {
	switch r.Kind {
	case Domain:
		if peerName.MatchString(r.Name) && !strings.Contains(r.Name, ".") {
			return fmt.Errorf("sources have no domain names, did you mean container:%s?", r.Name)
		}
		return errors.New("sources have no domain names, use an address, or container:NAME")
	case Metadata, DNS:
		return fmt.Errorf("%s is not a source of connections", r.peer())
	}
	return nil
}
