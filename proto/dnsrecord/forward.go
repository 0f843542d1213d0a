package dnsrecord

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// Default ports.
const (
	portPlain = 53
	portTLS   = 853
)

// Limits of forwards.
const (
	MaxServers  = 3 // of one domain; as many are asked for one question
	MaxForwards = 1000
)

const tlsScheme = "tls://"

// Server is a name server of a forward.
type Server struct {
	Addr netip.AddrPort
	TLS  bool
	Name string // of its certificate; empty: the certificate has the address. Only with TLS
}

// ParseServer parses ADDRESS[:PORT], or with DNS over TLS tls://ADDRESS[:PORT][#NAME].
func ParseServer(text string) (Server, error) {
	rest, secure := strings.CutPrefix(text, tlsScheme)
	rest, name, named := strings.Cut(rest, "#")
	s := Server{TLS: secure}
	port := uint16(portPlain)
	if secure {
		port = portTLS
	}

	if named {
		var err error
		if !secure {
			return s, fmt.Errorf("server %q has a name of a certificate, write tls:// before the address", text)
		}
		if s.Name, err = parseHost(name); err != nil {
			return s, fmt.Errorf("server %q has no valid name after #: %w", text, err)
		}
	}
	var err error
	if s.Addr, err = parseAddrPort(rest, port); err != nil {
		return s, fmt.Errorf("server %q is not ADDRESS[:PORT] or tls://ADDRESS[:PORT][#NAME]", text)
	}
	if a := s.Addr.Addr(); a.IsUnspecified() || a.IsMulticast() {
		return s, fmt.Errorf("server %q is not the address of a server", text)
	}
	return s, nil
}

func parseAddrPort(text string, port uint16) (netip.AddrPort, error) {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		text = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a.Unmap(), port), nil
	}
	at, err := netip.ParseAddrPort(text)
	if err == nil && at.Port() == 0 {
		err = fmt.Errorf("port 0")
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), err
}

// String returns the canonical text.
func (s Server) String() string {
	scheme, usual := "", uint16(portPlain)
	if s.TLS {
		scheme, usual = tlsScheme, portTLS
	}
	text := s.Addr.Addr().String()
	switch {
	case s.Addr.Port() != usual:
		text = net.JoinHostPort(text, strconv.Itoa(int(s.Addr.Port())))
	case s.TLS && s.Addr.Addr().Is6():
		text = "[" + text + "]"
	}
	if s.Name != "" {
		text += "#" + s.Name
	}
	return scheme + text
}

// MarshalText implements encoding.TextMarshaler.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Server) UnmarshalText(text []byte) (err error) {
	*s, err = ParseServer(string(text))
	return err
}

// Forward sends the questions about names of a domain to servers. It is stored.
type Forward struct {
	Network string   `json:",omitempty"` // containers on this network use it; empty: all containers
	Domain  string   // in canonical form; "." stands for all names
	Servers []Server // in order
}

// NewForward returns the canonical form of a forward.
func NewForward(network, domain string, servers []string) (Forward, error) {
	f := Forward{Network: network}
	var err error
	if f.Domain, err = ParseDomain(domain); err != nil {
		return Forward{}, err
	}
	if len(servers) == 0 {
		return Forward{}, fmt.Errorf("domain %s has no server", f.Domain)
	}
	return f.With(servers)
}

// With returns the forward with additional servers.
func (f Forward) With(servers []string) (Forward, error) {
	f.Servers = slices.Clone(f.Servers)
	for _, text := range servers {
		s, err := ParseServer(text)
		if err != nil {
			return Forward{}, err
		}
		if slices.Contains(f.Servers, s) {
			return Forward{}, fault.New(fault.Exists, f.Subject(), "server "+s.String()+" already exists")
		}
		f.Servers = append(f.Servers, s)
	}
	if len(f.Servers) > MaxServers {
		return Forward{}, fault.New(fault.Exhausted, f.Subject(), fmt.Sprintf("%d servers exceed the limit of %d",
			len(f.Servers), MaxServers))
	}
	return f, nil
}

// Subject returns the subject of errors about a forward.
func (f Forward) Subject() string { return "forward " + f.Domain }

// ParseForward parses the text form of the configuration: [network=NAME] DOMAIN SERVER [SERVER...].
func ParseForward(text string) (Forward, error) {
	network, rest, err := cutNetwork(text)
	if err != nil {
		return Forward{}, err
	}
	words := strings.Fields(rest)
	if len(words) < 2 {
		return Forward{}, fmt.Errorf("%q is not [network=NAME] DOMAIN SERVER", text)
	}
	return NewForward(network, words[0], words[1:])
}

// String returns the text form.
func (f Forward) String() string {
	text := f.Domain
	for _, s := range f.Servers {
		text += " " + s.String()
	}
	if f.Network != "" {
		return networkWord + f.Network + " " + text
	}
	return text
}

// Forwards finds forwards by network and name. The zero value is empty.
type Forwards struct{ entries map[key]Forward }

// NewForwards returns a table of forwards.
func NewForwards(all []Forward) *Forwards {
	t := &Forwards{entries: make(map[key]Forward, len(all))}
	for _, f := range all {
		t.entries[key{f.Network, f.Domain}] = f
	}
	return t
}

// Find returns the forward of the nearest domain of a canonical name.
func (t *Forwards) Find(network, name string) (Forward, bool) {
	if t == nil || len(t.entries) == 0 {
		return Forward{}, false
	}
	for {
		if f, ok := t.entries[key{network, name}]; ok {
			return f, true
		}
		i := strings.IndexByte(name, '.')
		if i < 0 {
			f, ok := t.entries[key{network, "."}]
			return f, ok
		}
		name = name[i+1:]
	}
}
