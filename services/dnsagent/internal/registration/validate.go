package registration

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// maxHostname is the kernel's limit for host and domain names.
const maxHostname = 64

// ValidateEgress checks the egress policy. It needs a resolver, which enforces it.
func (r *Registration) ValidateEgress() error {
	if len(r.Egress) > 0 && r.Source != Resolver {
		return r.invalid("egress", "an egress policy needs the embedded resolver")
	}
	if _, err := egress.Parse(r.Egress); err != nil {
		return r.invalid("egress", "egress policy is not valid: %s", err)
	}
	return nil
}

// maxDNSName is the maximum length of a DNS name.
const maxDNSName = 253

// Subject returns the subject of faults about an owner.
func Subject(owner string) string { return "container " + id.Short(owner) }

// CheckOwner returns an error unless owner is a container ID. Owners are used as directory names.
func CheckOwner(owner string) error {
	if !id.Valid(owner) {
		return fault.Invalidf("owner", "owner", "%q is not a container ID of %d hexadecimal digits", owner, id.Len)
	}
	return nil
}

// Validate checks the whole request, so that no value can add a line or a word to a file.
func (r *Registration) Validate() error {
	if err := CheckOwner(r.Owner); err != nil {
		return err
	}

	if r.Source < Generated || r.Source > Shared {
		return r.invalid("source", "source %d is not valid (generated, host, resolver, shared)", r.Source)
	}
	if err := r.validateShared(); err != nil {
		return err
	}
	if err := r.validateNames(); err != nil {
		return err
	}
	if err := r.validateAddresses("addresses", r.Addresses); err != nil {
		return err
	}
	if err := r.validateNetworks(); err != nil {
		return err
	}
	if err := r.validateExtraHosts(); err != nil {
		return err
	}
	if err := r.ValidateEgress(); err != nil {
		return err
	}

	return ValidateNames(Subject(r.Owner), r.Names)
}

func (r *Registration) validateNames() error {
	for _, n := range []struct{ field, value string }{{"hostname", r.Hostname}, {"domainname", r.Domainname}} {
		switch {
		case n.value == "":
		case len(n.value) > maxHostname:
			return r.invalid(n.field, "%s %q is too long (maximum %d bytes)", n.field, n.value, maxHostname)
		case !hostsfile.ValidName(n.value):
			return r.invalid(n.field, "%s %q has white space, '#' or a character that cannot be printed",
				n.field, n.value)
		}
	}
	return nil
}

func (r *Registration) validateAddresses(field string, addresses []netip.Addr) error {
	for _, a := range addresses {
		if !a.IsValid() || a.Zone() != "" {
			return r.invalid(field, "%q is not an IP address", a)
		}
	}
	return nil
}

// validateNetworks rejects names that are not valid in DNS, and networks without the embedded
// resolver.
func (r *Registration) validateNetworks() error {
	if len(r.Networks)+len(r.Aliases) > 0 && r.Source != Resolver {
		return r.invalid("networks", "names on networks require the embedded resolver")
	}

	seen := map[string]bool{}
	for _, n := range r.Networks {
		switch {
		case n.ID == "" || seen[n.ID]:
			return r.invalid("networks", "network %q has no id or is specified twice", n.Name)
		case !isResolvable(n.Name):
			return r.invalid("networks", "network name %q is not a valid DNS name", n.Name)
		}
		seen[n.ID] = true
		for _, name := range n.Names {
			if !isResolvable(name) {
				return r.invalid("network-alias", "%q is not a valid DNS name", name)
			}
		}
		if err := r.validateAddresses("networks", slices.Concat(n.Addresses, n.Servers)); err != nil {
			return err
		}
		if err := ValidateNames(Subject(r.Owner), resolvconf.Conf{Search: n.Search}); err != nil {
			return err
		}
	}

	for _, a := range r.Aliases {
		if !isResolvable(a.Alias) || !isResolvable(a.Name) {
			return r.invalid("link", "%q or %q is not a valid DNS name", a.Alias, a.Name)
		}
	}

	return nil
}

// isResolvable reports whether a name is valid in a DNS question.
func isResolvable(name string) bool { return len(name) <= maxDNSName && hostsfile.ValidName(name) }

func (r *Registration) validateExtraHosts() error {
	for _, e := range r.ExtraHosts {
		switch {
		case !hostsfile.ValidName(e.Name):
			return r.invalid("add-host",
				"bad format for add-host: %q is empty, or has white space, '#' or an unprintable character", e.Name)
		case e.Gateway && len(r.gateways()) == 0:
			return fault.New(fault.Invalid, Subject(r.Owner), "unable to derive the IP value for host-gateway",
				fault.WithField("add-host"),
				fault.WithHint("the host has no address on the container's network: specify an IP address"))
		case !e.Gateway && (!e.Addr.IsValid() || e.Addr.Zone() != ""):
			return r.invalid("add-host", "invalid IP address in add-host: %q", e.Addr)
		}
	}

	for _, g := range r.HostGateways {
		if !g.IsValid() || g.Zone() != "" {
			return r.invalid("host_gateways", "%q is not an IP address", g)
		}
	}

	return nil
}

func (r *Registration) invalid(field, format string, args ...any) error {
	return fault.New(fault.Invalid, Subject(r.Owner), fmt.Sprintf(format, args...), fault.WithField(field))
}

// QuoteValue returns a value for a message, quoted if it is not printable.
func QuoteValue(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return strconv.Quote(s)
}

// ValidateNames checks the resolv.conf settings of a container or of the configuration.
func ValidateNames(subject string, c resolvconf.Conf) error {
	for _, s := range c.Servers {
		if _, ok := resolvconf.ParseServer(s.String()); !ok {
			return fault.Invalidf(subject, "dns", "IP address is not correctly formatted: %s", QuoteValue(s.String()))
		}
	}

	for _, s := range c.Search {
		if !resolvconf.ValidSearch(s) {
			return fault.Invalidf(subject, "dns-search", "%s is not a valid domain", QuoteValue(s))
		}
	}

	for _, o := range c.Options {
		if !resolvconf.ValidOption(o) {
			return fault.Invalidf(subject, "dns-option",
				"%q is empty, or has white space or a character that cannot be printed", o)
		}
	}

	return nil
}
