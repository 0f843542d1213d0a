package registry

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// mirror is a mirror of Docker Hub.
type mirror struct {
	host  string
	plain bool
}

func parseMirror(s string) (mirror, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return mirror{}, fault.Invalidf("registry mirror "+s, "registry-mirrors",
			"is not a valid URL, such as https://mirror.example")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return mirror{}, fault.Invalidf("registry mirror "+s, "registry-mirrors",
			"must not have a path, query or user name")
	}
	return mirror{host: u.Host, plain: u.Scheme == "http"}, nil
}

// insecure is the set of hosts allowed to use plain HTTP or an untrusted certificate.
type insecure struct {
	hosts map[string]bool // host or host:port
	nets  []netip.Prefix
}

func parseInsecure(list []string) (*insecure, error) {
	in := &insecure{hosts: map[string]bool{}}
	for _, s := range list {
		if strings.Contains(s, "://") {
			return nil, fault.Invalidf("insecure registry "+s, "insecure-registries",
				"must be host[:port] or a CIDR, without a scheme")
		}
		if p, err := netip.ParsePrefix(s); err == nil {
			in.nets = append(in.nets, p.Masked())
			continue
		}
		if u, err := url.Parse("//" + s); err != nil || u.Host != s || s == "" {
			return nil, fault.Invalidf("insecure registry "+s, "insecure-registries",
				"is not a valid host[:port] or CIDR")
		}
		in.hosts[s] = true
	}

	return in, nil
}

// allows reports whether a host, with or without a port, is in the set. A host name is resolved if
// the set has CIDRs.
func (in *insecure) allows(ctx context.Context, hostport string) bool {
	host := (&url.URL{Host: hostport}).Hostname()
	if in.hosts[hostport] || in.hosts[host] || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}

	if a, err := netip.ParseAddr(host); err == nil {
		return in.allowsAddr(a)
	}
	if len(in.nets) == 0 {
		return false
	}

	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}

	for _, a := range addrs {
		if !a.Unmap().IsLoopback() && in.allowsAddr(a) {
			return true
		}
	}

	return false
}

func (in *insecure) allowsAddr(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	for _, p := range in.nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
