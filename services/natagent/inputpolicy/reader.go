package inputpolicy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/services/natagent/hostns"
	"github.com/fairlead/fairlead/services/natagent/publication"
)

// patience is for a command that hangs.
const patience = 10 * time.Second

// Reader reads the firewalls of a network namespace.
type Reader struct {
	ns  hostns.NS
	own string // the table of nf_tables that is ours
}

// New makes a reader. own is the table of nf_tables that is not somebody else's.
func New(ns hostns.NS, own string) *Reader { return &Reader{ns, own} }

// Closed tells which chain drops connections to the host for sure; ok is false if none does, or nothing is certain.
func (r *Reader) Closed(ctx context.Context, proto publication.Protocol, target netip.AddrPort, source netip.Addr) (Closed, bool) {
	p := Packet{Protocol: proto, Source: source, Target: target, Interface: r.interfaceTo(source)}
	for _, t := range r.tables(ctx, r.names(ctx), target.Addr().Is4()) {
		if c, closed := t.closed(p); closed {
			return c, true
		}
	}
	return Closed{}, false
}

// tableName is what nf_tables knows a table by.
type tableName struct{ family, name string }

// names are the tables of nf_tables that are of others.
func (r *Reader) names(ctx context.Context) (out []tableName) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for line := range strings.Lines(string(r.run(ctx, "nft", "list", "tables"))) {
		if f := strings.Fields(line); len(f) == 3 && f[2] != r.own { // table FAMILY NAME
			out = append(out, tableName{f[1], f[2]})
		}
	}
	return out
}

// tables are those of others that see IPv4 or IPv6, of nf_tables those among the named. What cannot be read says nothing.
func (r *Reader) tables(ctx context.Context, named []tableName, ipv4 bool) (all []table) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	family, command, names := "ip", "iptables", "ip_tables_names"
	if !ipv4 {
		family, command, names = "ip6", "ip6tables", "ip6_tables_names"
	}
	for _, t := range named {
		if t.family != family && t.family != "inet" {
			continue
		}
		if t.family == family && t.name == "filter" { // of iptables, as a rule, which nft does not show in full
			if saved := r.run(ctx, command+"-nft-save", "-t", "filter"); len(saved) > 0 {
				all = append(all, parseSave(family, string(saved)))
				continue
			}
		}
		if some, err := parseRuleset(r.run(ctx, "nft", "-j", "list", "table", t.family, t.name)); err == nil {
			all = append(all, some...)
		}
	}
	var legacy []byte
	_ = r.ns.Do(func() (err error) {
		legacy, err = os.ReadFile("/proc/thread-self/net/" + names)
		return err
	})
	if slices.Contains(strings.Fields(string(legacy)), "filter") {
		all = append(all, parseSave(family, string(r.run(ctx, command+"-legacy-save", "-t", "filter"))))
	}
	return all
}

// run answers what a command prints in the host's namespace; nothing if it fails.
func (r *Reader) run(ctx context.Context, name string, args ...string) []byte {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.WaitDelay = &out, time.Second
	if r.ns.Do(cmd.Start) != nil || cmd.Wait() != nil {
		return nil
	}
	return []byte(out.String())
}

// interfaceTo is the one that an address comes in by: whose network it is in, or that of the default route; empty if it is not known.
func (r *Reader) interfaceTo(a netip.Addr) (name string) {
	_ = r.ns.Do(func() error {
		links, err := net.Interfaces()
		for _, l := range links {
			addrs, _ := l.Addrs()
			for _, has := range addrs {
				if p, err := netip.ParsePrefix(has.String()); err == nil && p.Contains(a) {
					name = l.Name
				}
			}
		}
		if name != "" || err != nil || !a.Is4() {
			return err
		}
		routes, err := os.ReadFile("/proc/thread-self/net/route")
		for line := range strings.Lines(string(routes)) {
			if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
				name = f[0]
			}
		}
		return err
	})
	return name
}

// Tools names the programs whose tables and chains are there: firewalld, ufw, Docker, libvirt.
func (r *Reader) Tools(ctx context.Context) (found []string) {
	marks := []struct{ tool, table, chain string }{
		{"firewalld", "firewalld", ""}, {"ufw", "", "ufw-"}, {"Docker", "", "DOCKER-USER"}, {"libvirt", "", "LIBVIRT_"}, {"libvirt", "libvirt_network", ""},
	}
	names := r.names(ctx)
	tables := append(r.tables(ctx, names, true), r.tables(ctx, names, false)...)
	for _, m := range marks {
		for _, t := range tables {
			there := m.table != "" && t.name == m.table
			for name := range t.chains {
				there = there || m.chain != "" && strings.HasPrefix(name, m.chain)
			}
			if there && !slices.Contains(found, m.tool) {
				found = append(found, m.tool)
			}
		}
	}
	return found
}
