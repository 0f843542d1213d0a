// Package registration holds the request for a container's names, validates it and renders the name
// files from it.
//
// It performs no I/O: package files reads the host's files and writes the container's. Packages api
// and dnsagent call it.
package registration

import (
	"net/netip"

	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent/internal/hostsfile"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolvconf"
)

// FileSource selects the source of the files. The values are stored and equal those of
// fairlead.dns.v1.
type FileSource int

// The sources.
const (
	Generated FileSource = 1 // written for the container
	Host      FileSource = 2 // copies of the host's files, with explicit settings applied
	Resolver  FileSource = 3 // written for the container, with the embedded resolver as its only server
	Shared    FileSource = 4 // files of another container, with the own hostname
)

// Registration is the stored request of one container. Empty lists are nil.
type Registration struct {
	Owner        string // container ID
	Source       FileSource
	Hostname     string // -h; may be empty
	Domainname   string
	Addresses    []netip.Addr // the container's own, in the order of its interfaces
	ExtraHosts   []ExtraHost
	Names        resolvconf.Conf // --dns, --dns-search, --dns-option
	HostGateways []netip.Addr    // addresses of "host-gateway"
	IPv6Disabled bool            // the container has no IPv6 at all, not even ::1
	Networks     []Network       // its user networks, in lookup order
	Aliases      []Alias         // link aliases
	SharesWith   string          // ID of the container whose network it shares; only with source Shared
	Egress       []string        `json:",omitempty"` // egress policy; only with source Resolver
}

// ExtraHost is one --add-host.
type ExtraHost struct {
	Name    string
	Addr    netip.Addr // zero if Gateway is set
	Gateway bool       // host-gateway was specified instead of an address
}

// Network holds the names of the container on one user network.
type Network struct {
	ID        string
	Name      string
	Addresses []netip.Addr
	Names     []string     // the first is the target of PTR records
	Internal  bool         // no external connectivity
	Servers   []netip.Addr // its own name servers
	Search    []string     // its own search domains

	Labels map[string]string `json:",omitempty"` // for rules of other hosts, if the network spans hosts
}

// Alias is a link alias: a name for another container that only this container resolves.
type Alias struct{ Alias, Name string }

// HostFiles holds the host's files. A file that does not exist is nil.
type HostFiles struct {
	Name         string // host name of the kernel
	Hostname     []byte // etc/hostname
	Hosts        []byte // etc/hosts
	ResolvConf   []byte // etc/resolv.conf
	ResolvedConf []byte // systemd-resolved's list of upstream servers
}

// Contents holds the three files of a container.
type Contents struct {
	Hostname   []byte
	Hosts      []byte
	ResolvConf []byte
}

// HostName returns the hostname that the container is started with.
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

// Contents returns the three files. The configured settings apply to containers with their own
// network. A container on the host network gets the host's files, except for its own flags.
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

// Records returns the lines of the hosts file, without the fixed localhost lines.
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

// OwnRecords returns the lines of the hosts file for the container itself.
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

// gateways returns the host addresses that the container can use.
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
		c := r.Names.Merge(resolvconf.Conf{Search: r.NetworkSearch()}).Merge(configured).MergeHost(conf)
		return c.ForResolver().Render()
	}

	if conf.IsStub() && host.ResolvedConf != nil {
		conf = resolvconf.Parse(host.ResolvedConf)
	}

	return r.Names.Merge(configured).MergeHost(conf.ForContainer(r.hasIPv6())).Render()
}

// hasIPv6 reports whether the container can reach servers over IPv6.
func (r *Registration) hasIPv6() bool {
	for _, a := range r.Addresses {
		if a.Is6() && !a.IsLinkLocalUnicast() && !r.IPv6Disabled {
			return true
		}
	}
	return false
}
