// Package forwardpolicy accepts the traffic of bridges in other firewalls of the host whose policy
// is drop.
//
// A packet that our firewall accepts is still subject to the others. If iptables' FORWARD chain has
// the policy DROP, as with Docker and ufw, a pair of rules per bridge is added: in DOCKER-USER if
// it exists, else in FORWARD. Our own firewall still drops what must be dropped. Besides
// firewalld's zones, these are natagent's only changes outside its own tables and chains. nft
// chains with policy drop are only logged.
package forwardpolicy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-iptables/iptables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	table       = "filter"
	forward     = "FORWARD"
	dockerUser  = "DOCKER-USER"
	lockSeconds = 5 // maximum wait for the xtables lock
)

// Chains lists the foreign chains at the forward hook.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// Policy changes the other firewalls of a network namespace.
type Policy struct {
	ns     hostns.NS
	events *nfevents.Source
	chains Chains
	own    string
	log    *slog.Logger

	mu     sync.Mutex // serializes changes
	warned map[firewall.ForwardChain]bool
}

// New returns a policy. own is the iptables flavor of our own firewall, which is not changed: nft,
// legacy or "". Watch uses events.
func New(ns hostns.NS, events *nfevents.Source, chains Chains, own string, log *slog.Logger) *Policy {
	return &Policy{ns: ns, events: events, chains: chains, own: own, log: log, warned: map[firewall.ForwardChain]bool{}}
}

// Allow adds rules to iptables that accept the bridges' traffic. It is idempotent.
func (p *Policy) Allow(ctx context.Context, bridges ...string) error {
	return p.each(ctx, func(f filter) error {
		if drops, err := f.drops(); err != nil || !drops {
			return err
		}
		chain, err := f.chain()
		if err != nil {
			return err
		}
		there, err := f.has(chain, len(bridges))
		if err != nil {
			return err
		}
		for _, bridge := range bridges {
			for _, rule := range rules(bridge) {
				if there[strings.Join(append([]string{"-A", chain}, rule...), " ")] {
					continue
				}
				if err := f.ipt.InsertUnique(table, chain, 1, rule...); err != nil {
					return fmt.Errorf("allow bridge %s in %s: %w", bridge, chain, err)
				}
			}
		}
		return nil
	})
}

// has lists the rules of a chain, if that is cheaper than one check for each of many bridges.
func (f filter) has(chain string, bridges int) (map[string]bool, error) {
	if bridges < 2 {
		return nil, nil
	}

	list, err := f.ipt.List(table, chain)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", chain, err)
	}

	there := make(map[string]bool, len(list))
	for _, rule := range list {
		there[rule] = true
	}

	return there, nil
}

// Forget removes the rules of bridges.
func (p *Policy) Forget(ctx context.Context, bridges ...string) error {
	return p.each(ctx, func(f filter) error {
		chains, err := f.ipt.ListChains(table)
		if err != nil {
			return fmt.Errorf("list chains: %w", err)
		}
		for _, chain := range []string{dockerUser, forward} {
			if !slices.Contains(chains, chain) {
				continue
			}
			for _, bridge := range bridges {
				for _, rule := range rules(bridge) {
					if err := f.ipt.DeleteIfExists(table, chain, rule...); err != nil {
						return fmt.Errorf("remove bridge %s from %s: %w", bridge, chain, err)
					}
				}
			}
		}
		return nil
	})
}

// rules returns the two rules of a bridge.
func rules(bridge string) [][]string {
	comment := []string{"-m", "comment", "--comment", "fairlead", "-j", "ACCEPT"}
	return [][]string{append([]string{"-i", bridge}, comment...), append([]string{"-o", bridge}, comment...)}
}

// filter is an existing iptables filter table.
type filter struct {
	ipt    *iptables.IPTables
	legacy bool
	drop   bool // the policy is drop; unknown for legacy
}

// each calls do for each iptables filter table of the host: IPv4 and IPv6, nft and legacy. It runs
// no command if there is none.
func (p *Policy) each(ctx context.Context, do func(filter) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	chains, err := p.chains.ForwardChains(ctx)
	if err != nil {
		return err
	}

	p.warnDropChains(chains)
	return p.ns.Do(func() error {
		var errs []error
		for family, v := range map[string]version{
			"ip":  {iptables.ProtocolIPv4, "iptables", "ip_tables_names"},
			"ip6": {iptables.ProtocolIPv6, "ip6tables", "ip6_tables_names"},
		} {
			errs = append(errs, v.each(family, p.own, chains, do))
		}
		return errors.Join(errs...)
	})
}

// version is iptables for one family.
type version struct {
	proto   iptables.Protocol
	command string
	names   string // the file in /proc/net that lists legacy tables
}

func (v version) each(family, own string, chains []firewall.ForwardChain, do func(filter) error) error {
	var errs []error
	for _, c := range chains {
		if isIPTables(c) && c.Family == family && own != "nft" {
			errs = append(errs, v.with("-nft", filter{drop: c.Drops}, do))
		}
	}
	names, _ := os.ReadFile("/proc/thread-self/net/" + v.names)
	if own != "legacy" && slices.Contains(strings.Fields(string(names)), table) {
		errs = append(errs, v.with("-legacy", filter{legacy: true}, do))
	}
	return errors.Join(errs...)
}

// with calls do with the command of a flavor, or the plain command if there is no other.
func (v version) with(flavour string, f filter, do func(filter) error) (err error) {
	command := v.command + flavour
	if _, err := exec.LookPath(command); err != nil {
		command = v.command
	}
	f.ipt, err = iptables.New(iptables.IPFamily(v.proto), iptables.Path(command), iptables.Timeout(lockSeconds))
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return do(f)
}

func (f filter) drops() (bool, error) {
	if !f.legacy {
		return f.drop, nil
	}
	list, err := f.ipt.List(table, forward)
	if err != nil {
		return false, fmt.Errorf("list %s: %w", forward, err)
	}
	return slices.Contains(list, "-P "+forward+" DROP"), nil
}

func (f filter) chain() (string, error) {
	docker, err := f.ipt.ChainExists(table, dockerUser)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", dockerUser, err)
	}
	if docker {
		return dockerUser, nil
	}
	return forward, nil
}

func isIPTables(c firewall.ForwardChain) bool {
	return c.Family != "inet" && c.Table == table && c.Name == forward
}

// warnDropChains logs, once each, the chains with policy drop that are not changed.
func (p *Policy) warnDropChains(chains []firewall.ForwardChain) {
	for _, c := range chains {
		if c.Drops && !isIPTables(c) && !p.warned[c] {
			p.warned[c] = true
			p.log.Warn("another firewall drops forwarded packets, accept the bridges there",
				"family", c.Family, "table", c.Table, "chain", c.Name)
		}
	}
}
