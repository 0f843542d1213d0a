// Package dnsrecord holds the DNS records and the forwards that administrators write. It parses and
// checks them, and finds those of a name.
//
// It performs no I/O and does not know the wire format. The configuration and the command line
// validate with it, dnsagent stores and answers with it.
package dnsrecord

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a record.
type Type string

// The types.
const (
	A     Type = "A"
	AAAA  Type = "AAAA"
	CNAME Type = "CNAME"
	TXT   Type = "TXT"
	SRV   Type = "SRV"
	PTR   Type = "PTR"
)

// Types returns all types.
func Types() []Type { return []Type{A, AAAA, CNAME, TXT, SRV, PTR} }

// TTLs in seconds.
const (
	DefaultTTL = 60
	MaxTTL     = 7 * 24 * 60 * 60
)

// Record is one record in canonical form, as New and Parse return it. It is stored.
type Record struct {
	Network string `json:",omitempty"` // containers on this network see it; empty: all containers
	Name    string // in lower case, without the final dot; "*.a.test" is for all names below a.test
	Type    Type
	TTL     uint32 // seconds
	Data    string
}

// Value is the parsed data of a record. Only the fields of its type are set.
type Value struct {
	Address                netip.Addr // A, AAAA
	Target                 string     // CNAME, PTR, SRV; "." of SRV: there is no such service
	Priority, Weight, Port uint16     // SRV
	Texts                  []string   // TXT, of at most 255 bytes each
}

// New returns the canonical form of a record. The type can be in lower case. The name of a PTR record
// can be an address.
func New(network, name, kind string, ttl uint32, data string) (Record, error) {
	r := Record{Network: network, Type: Type(strings.ToUpper(kind)), TTL: ttl}
	if !r.Type.valid() {
		return Record{}, fmt.Errorf("type %q is not one of %s", kind, typeList())
	}
	var err error
	if r.Name, err = recordName(r.Type, name); err != nil {
		return Record{}, err
	}
	if ttl > MaxTTL {
		return Record{}, fmt.Errorf("TTL of %d seconds exceeds the maximum of %d", ttl, MaxTTL)
	}

	v, err := parseValue(r.Type, data)
	if err != nil {
		return Record{}, fmt.Errorf("%s record of %s: %w", r.Type, r.Name, err)
	}
	r.Data = v.text(r.Type)
	return r, nil
}

// Select returns the canonical form of a name, a type and data, of which type and data can be empty.
func Select(name, kind, data string) (string, Type, string, error) {
	t := Type(strings.ToUpper(kind))
	if kind == "" {
		if data != "" {
			return "", "", "", fmt.Errorf("data %q has no type", data)
		}
		if _, err := netip.ParseAddr(name); err == nil {
			t = PTR
		}
		name, err := recordName(t, name)
		return name, "", "", err
	}
	if data != "" {
		r, err := New("", name, kind, 0, data)
		return r.Name, r.Type, r.Data, err
	}
	if !t.valid() {
		return "", "", "", fmt.Errorf("type %q is not one of %s", kind, typeList())
	}
	name, err := recordName(t, name)
	return name, t, "", err
}

func (t Type) valid() bool {
	for _, known := range Types() {
		if t == known {
			return true
		}
	}
	return false
}

func typeList() string {
	var all []string
	for _, t := range Types() {
		all = append(all, string(t))
	}
	return strings.Join(all, ", ")
}

// recordName returns the canonical name of a record.
func recordName(t Type, name string) (string, error) {
	if a, err := netip.ParseAddr(strings.TrimSpace(name)); err == nil {
		if t == PTR && a.Zone() == "" {
			return ReverseName(a.Unmap()), nil
		}
		return "", fmt.Errorf("%q is an address, not a name", name)
	}
	return ParseName(name)
}

// ParseTTL parses seconds, or a duration such as 5m.
func ParseTTL(text string) (uint32, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		d, derr := time.ParseDuration(text)
		if derr != nil || d%time.Second != 0 {
			return 0, fmt.Errorf("TTL %q is not a number of seconds or a duration such as 5m", text)
		}
		seconds = int64(d / time.Second)
	}
	if seconds < 0 || seconds > MaxTTL {
		return 0, fmt.Errorf("TTL %s is not in the range from 0 to %d seconds (7 days)", text, MaxTTL)
	}
	return uint32(seconds), nil
}

const networkWord = "network="

// Parse parses the text form of the configuration: [network=NAME] NAME [TTL] [IN] TYPE DATA.
func Parse(text string) (Record, error) {
	network, rest, err := cutNetwork(text)
	if err != nil {
		return Record{}, err
	}
	name, rest := cutWord(rest)
	word, rest := cutWord(rest)
	ttl := uint32(DefaultTTL)
	if word != "" && '0' <= word[0] && word[0] <= '9' {
		if ttl, err = ParseTTL(word); err != nil {
			return Record{}, err
		}
		word, rest = cutWord(rest)
	}
	if strings.EqualFold(word, "IN") {
		word, rest = cutWord(rest)
	}
	if word == "" || rest == "" {
		return Record{}, fmt.Errorf("%q is not [network=NAME] NAME [TTL] TYPE DATA", text)
	}
	return New(network, name, word, ttl, rest)
}

// String returns the text form.
func (r Record) String() string {
	text := fmt.Sprintf("%s %d %s %s", r.Name, r.TTL, r.Type, r.Data)
	if r.Network != "" {
		return networkWord + r.Network + " " + text
	}
	return text
}

// cutNetwork removes a leading network=NAME.
func cutNetwork(text string) (network, rest string, err error) {
	word, rest := cutWord(text)
	network, found := strings.CutPrefix(word, networkWord)
	switch {
	case !found:
		return "", text, nil
	case network == "":
		return "", "", fmt.Errorf("%q has no name of a network", text)
	case network == "bridge" || network == "host" || network == "none":
		return "", "", fmt.Errorf("containers on network %s do not use the embedded resolver", network)
	}
	return network, rest, nil
}

// cutWord returns the first word and the rest without leading space.
func cutWord(text string) (word, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], strings.TrimSpace(text[i:])
	}
	return text, ""
}
