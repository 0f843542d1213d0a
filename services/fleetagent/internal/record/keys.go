package record

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// root is the prefix of all keys. Its number is the version of the layout.
const root = "/fairlead/1/"

// Keys builds the keys of one fleet.
type Keys struct{ prefix string }

// Root returns the prefix of the keys of all fleets below a prefix, which may be empty.
func Root(prefix string) string { return prefix + root }

// ForFleet returns the keys below a prefix, which may be empty.
func ForFleet(prefix, fleet string) Keys { return Keys{Root(prefix) + fleet + "/"} }

// All returns the prefix of all keys.
func (k Keys) All() string { return k.prefix }

// Hosts returns the prefix of host records.
func (k Keys) Hosts() string { return k.prefix + "h/" }

// Host returns the key of a host record.
func (k Keys) Host(id string) string { return k.Hosts() + id }

// Name returns the key that reserves the name of a host.
func (k Keys) Name(name string) string { return k.prefix + "name/" + name }

// Presences returns the prefix of the keys that exist while a host renews its lease.
func (k Keys) Presences() string { return k.prefix + "live/" }

// Presence returns the key that exists while a host renews its lease.
func (k Keys) Presence(id string) string { return k.Presences() + id }

// Token returns the key of a join token by the hash of its secret.
func (k Keys) Token(hash string) string { return k.prefix + "join/" + hash }

// Person returns the key of the certificate of a person.
func (k Keys) Person(name string) string { return k.prefix + "person/" + name }

// Members returns the key of the lock for changes of the members of the store.
func (k Keys) Members() string { return k.prefix + "lock/members" }

// Epoch returns the key whose last change is the epoch of a host: its latest registration. A host
// writes only while it is unchanged.
func (k Keys) Epoch(id string) string { return k.prefix + "ep/" + id }

// Info returns the key of what a host publishes about itself.
func (k Keys) Info(id string) string { return k.Infos() + id }

// Infos returns the prefix of what hosts publish about themselves.
func (k Keys) Infos() string { return k.prefix + "i/" }

// Usage returns the key of the use of a host's blocks.
func (k Keys) Usage(id string) string { return k.prefix + "use/" + id }

// Seen returns the key of the latest change of networks that a host has.
func (k Keys) Seen(id string) string { return k.prefix + "seen/" + id }

// Marks returns the prefix of the networks that a host has.
func (k Keys) Marks(host string) string { return k.prefix + "up/" + host + "/" }

// Mark returns the key that exists while a host has a network.
func (k Keys) Mark(host, network string) string { return k.Marks(host) + network }

// Endpoints returns the prefix of the endpoints of a host.
func (k Keys) Endpoints(host string) string { return k.prefix + "e/" + host + "/" }

// Endpoint returns the key of an endpoint.
func (k Keys) Endpoint(host, network, owner string) string {
	return k.Endpoints(host) + network + "/" + owner
}

// Wishes returns the prefix of the wishes of a host for addresses of other hosts.
func (k Keys) Wishes(host string) string { return k.prefix + "w/" + host + "/" }

// Wish returns the key of a wish.
func (k Keys) Wish(host, network string) string { return k.Wishes(host) + network }

// Networks returns the prefix of network records.
func (k Keys) Networks() string { return k.prefix + "n/" }

// Network returns the key of a network record.
func (k Keys) Network(id string) string { return k.Networks() + id }

// NetworkName returns the key that reserves the name of a network.
func (k Keys) NetworkName(name string) string { return k.prefix + "nn/" + name }

// Pool returns the key that every change of the set of networks changes. It serializes them.
func (k Keys) Pool() string { return k.prefix + "pool" }

// Settings returns the key of what is the same on all hosts.
func (k Keys) Settings() string { return k.prefix + "settings" }

// Blocks returns the prefix of the blocks of a network.
func (k Keys) Blocks(network string) string { return k.prefix + "b/" + network + "/" }

// Block returns the key of a block.
func (k Keys) Block(network string, p netip.Prefix) string { return k.Blocks(network) + PrefixName(p) }

// Quarantines returns the prefix of the released blocks of a network that cannot be claimed yet.
func (k Keys) Quarantines(network string) string { return k.prefix + "q/" + network + "/" }

// Quarantine returns the key of a released block.
func (k Keys) Quarantine(network string, p netip.Prefix) string {
	return k.Quarantines(network) + PrefixName(p)
}

// Own returns the keys and prefixes that a host may write: those that say something about itself.
func (k Keys) Own(host string) []string {
	return []string{k.Presence(host), k.Epoch(host), k.Info(host), k.Usage(host), k.Seen(host), k.Marks(host),
		k.Endpoints(host), k.Wishes(host)}
}

// Split returns the elements of a key below the fleet's prefix. It returns nil for a foreign key.
func (k Keys) Split(key string) []string {
	rest, ok := strings.CutPrefix(key, k.prefix)
	if !ok {
		return nil
	}
	return strings.Split(rest, "/")
}

// PrefixName returns an address prefix as the last element of a key. The order of keys is that of
// first addresses, so a range of keys is a range of addresses.
func PrefixName(p netip.Prefix) string {
	return hex.EncodeToString(p.Addr().AsSlice()) + "-" + strconv.Itoa(p.Bits())
}

// ParsePrefixName is the inverse of PrefixName.
func ParsePrefixName(name string) (netip.Prefix, bool) {
	first, length, _ := strings.Cut(name, "-")
	raw, err := hex.DecodeString(first)
	if err != nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(raw)
	bits, err := strconv.Atoi(length)
	if !ok || err != nil {
		return netip.Prefix{}, false
	}
	p := netip.PrefixFrom(a, bits)
	return p, p.IsValid() && p == p.Masked() && PrefixName(p) == name
}

// Last returns the last element of a key.
func Last(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// PrefixRange returns the first name of a prefix, and the first name behind, of all prefixes within a
// prefix.
func PrefixRange(p netip.Prefix) (first, end string) {
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	return hex.EncodeToString(p.Addr().AsSlice()), hex.EncodeToString(last) + "." // '-' comes before '.'
}
