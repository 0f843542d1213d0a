// Package registration is what a container wants to find in its name files: the request, its rules, and the contents that follow.
//
// It is pure. The files of the host come in as bytes, those of the container go out as bytes; package files reads and writes.
package registration

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// FileSource says what the files are made from. The values are those of fairlead.dns.v1.Source; they are stored.
type FileSource int

// The sources.
const (
	Generated FileSource = 1 // written for the container
	Host      FileSource = 2 // copies of the host's files; what is given explicitly still wins
	Resolver  FileSource = 3 // written for the container, with the embedded resolver as its only server
	Shared    FileSource = 4 // those of another container, with the own host name in place of the other's
)

// Registration is one container's request, as it is stored. Empty lists are nil.
type Registration struct {
	Owner        string // the container's UID
	Source       FileSource
	Hostname     string // -h; may be empty
	Domainname   string
	Addresses    []netip.Addr // the container's own, in the order of its interfaces
	ExtraHosts   []ExtraHost
	Names        resolvconf.Conf // --dns, --dns-search, --dns-option
	HostGateways []netip.Addr    // what "host-gateway" stands for
	IPv6Disabled bool            // the container has no IPv6 at all, not even ::1
	Networks     []Network       // the user networks that it is on, in the order in which names are looked for
	Aliases      []Alias         // its private names for others
	SharesWith   string          // the UID of the container whose network it shares; empty with any other source
}

// ExtraHost is one --add-host.
type ExtraHost struct {
	Name    string
	Addr    netip.Addr // not valid if Gateway is set
	Gateway bool       // the word host-gateway was given in place of an address
}

// Network is how the container is known on one user network.
type Network struct {
	ID        string
	Name      string
	Addresses []netip.Addr
	Names     []string     // the first is what its addresses are translated to
	Internal  bool         // it does not lead out of the host
	Servers   []netip.Addr // its own name servers
	Search    []string     // its own search domains
}

// Alias is a name for another container that only this one has.
type Alias struct{ Alias, Name string }

// HostFiles is what the host has. Files that it does not have are nil.
type HostFiles struct {
	Name         string // what the kernel answers to hostname
	Hostname     []byte // etc/hostname
	Hosts        []byte // etc/hosts
	ResolvConf   []byte // etc/resolv.conf
	ResolvedConf []byte // systemd-resolved's list of the real servers
}

// Contents is what a container's three files hold.
type Contents struct {
	Hostname   []byte
	Hosts      []byte
	ResolvConf []byte
}

// HostName is the name that the container is started with.
func (r *Registration) HostName(host string) string {
	switch {
	case r.Hostname != "":
		return r.Hostname
	case r.Source == Host:
		return host
	default:
		return id.Short(r.Owner)
	}
}

// Contents makes the three files. The configured settings are for containers with a network of their own; one that shares the
// host's gets the host's, but for what its own flags say.
func (r *Registration) Contents(host HostFiles, configured resolvconf.Conf) Contents {
	c := Contents{
		Hostname:   []byte(r.HostName(host.Name) + "\n"),
		Hosts:      r.hosts(host.Name),
		ResolvConf: r.resolvConf(host, configured),
	}
	if r.Source != Host {
		return c
	}
	if r.Hostname == "" && host.Hostname != nil {
		c.Hostname = host.Hostname
	}
	if len(r.ExtraHosts) == 0 && host.Hosts != nil {
		c.Hosts = host.Hosts
	}
	return c
}

func (r *Registration) hosts(hostName string) []byte {
	return hostsfile.Render(r.Records(hostName), !r.IPv6Disabled)
}

// Records are the lines of the hosts file beside those that are always there.
func (r *Registration) Records(hostName string) []hostsfile.Record {
	var records []hostsfile.Record
	for _, e := range r.ExtraHosts {
		addrs := []netip.Addr{e.Addr}
		if e.Gateway {
			addrs = r.gateways()
		}
		for _, a := range addrs {
			records = append(records, hostsfile.Record{Addr: a, Names: []string{e.Name}})
		}
	}
	return append(records, r.OwnRecords(hostName)...)
}

// OwnRecords are the container's own lines in its hosts file.
func (r *Registration) OwnRecords(hostName string) []hostsfile.Record {
	var records []hostsfile.Record
	names := hostsfile.NamesOf(r.HostName(hostName), r.Domainname)
	for _, a := range r.Addresses {
		if a.Is4() || !r.IPv6Disabled {
			records = append(records, hostsfile.Record{Addr: a, Names: names})
		}
	}
	return records
}

// gateways are the host's addresses that the container can use.
func (r *Registration) gateways() []netip.Addr {
	var usable []netip.Addr
	for _, g := range r.HostGateways {
		if g.Is4() || !r.IPv6Disabled {
			usable = append(usable, g)
		}
	}
	return usable
}

func (r *Registration) resolvConf(host HostFiles, configured resolvconf.Conf) []byte {
	conf := resolvconf.Parse(host.ResolvConf)
	if r.Source == Host {
		if len(r.Names.Servers)+len(r.Names.Search)+len(r.Names.Options) == 0 {
			return host.ResolvConf
		}
		return r.Names.MergeHost(conf).Render()
	}
	if r.Source == Resolver {
		return r.Names.Merge(resolvconf.Conf{Search: r.NetworkSearch()}).Merge(configured).MergeHost(conf).ForResolver().Render()
	}
	if conf.IsStub() && host.ResolvedConf != nil {
		conf = resolvconf.Parse(host.ResolvedConf)
	}
	return r.Names.Merge(configured).MergeHost(conf.ForContainer(r.hasIPv6())).Render()
}

// hasIPv6 tells whether the container can reach a server by IPv6.
func (r *Registration) hasIPv6() bool {
	for _, a := range r.Addresses {
		if a.Is6() && !a.IsLinkLocalUnicast() && !r.IPv6Disabled {
			return true
		}
	}
	return false
}
