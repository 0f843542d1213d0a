package nftables

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// Probe detects whether the kernel supports all features that the table needs. It changes nothing:
// each trial transaction ends with a deliberate error, so that the kernel checks and discards it.
func Probe(ctx context.Context, ns hostns.NS) (Features, error) {
	conn, err := nflink.Open(ns)
	if err != nil {
		return Features{}, missing("nf_tables", "CONFIG_NF_TABLES, module nf_tables", err)
	}
	defer func() { _ = conn.Close() }()
	for _, n := range needs() {
		if err := ctx.Err(); err != nil {
			return Features{}, err
		}
		if err := try(conn.Conn, 0, n.ask); err != nil {
			return Features{}, missing(n.what, n.config, err)
		}
	}

	owner := try(conn.Conn, nftables.TableFlagOwner|nftables.TableFlagPersist, func(*nftables.Conn, *nftables.Table) {})
	return Features{Owner: owner == nil}, nil
}

func missing(what, config string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fault.New(fault.Denied, "nf_tables", "cannot be used: permission denied", fault.WithCause(err),
			fault.WithHint("run natagent as root, or grant it CAP_NET_ADMIN"))
	}
	return fault.New(fault.Unavailable, "kernel", "does not support "+what, fault.WithCause(err),
		fault.WithHint("load the module or enable the option (%s)", config))
}

// need is a feature that the table requires.
type need struct {
	what, config string
	ask          func(*nftables.Conn, *nftables.Table)
}

func needs() []need {
	withRule := func(kind nftables.ChainType, hook *nftables.ChainHook, exprs ...expr.Any) func(*nftables.Conn,
		*nftables.Table) {
		return func(c *nftables.Conn, t *nftables.Table) {
			for _, s := range sets(t) {
				_ = c.AddSet(s, nil)
			}
			ch := c.AddChain(&nftables.Chain{Name: "try", Table: t, Type: kind, Hooknum: hook,
				Priority: nftables.ChainPriorityNATSource})
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: exprs})
		}
	}

	pre, post := nftables.ChainHookPrerouting, nftables.ChainHookPostrouting
	return []need{
		{"nf_tables tables of family inet", "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, module nf_tables",
			func(*nftables.Conn, *nftables.Table) {}},
		{"nf_tables sets of intervals with several fields (Linux 5.6)", "a newer kernel",
			func(c *nftables.Conn, t *nftables.Table) {
				for _, s := range sets(t) {
					_ = c.AddSet(s, nil)
				}
			}},
		{"nf_tables fib lookups", "CONFIG_NFT_FIB_INET, module nft_fib_inet",
			withRule(nftables.ChainTypeFilter, pre, toLocal()...)},
		{"nf_tables connection tracking", "CONFIG_NFT_CT, module nft_ct",
			withRule(nftables.ChainTypeFilter, pre, ct(expr.CtKeySTATUS, statusDNAT)...)},
		{"nf_tables address translation", "CONFIG_NFT_NAT, module nft_chain_nat",
			withRule(nftables.ChainTypeNAT, pre, ipv4().dnatPort(mapDNAT4Any, false)...)},
		{"nf_tables address translation for IPv6", "CONFIG_NFT_NAT and CONFIG_NF_NAT",
			withRule(nftables.ChainTypeNAT, pre, ipv6().dnatPort(mapDNAT6Any, false)...)},
		{"nf_tables masquerading", "CONFIG_NFT_MASQ, module nft_masq",
			withRule(nftables.ChainTypeNAT, post, masquerade()...)},
	}
}

// Supports reports whether the kernel accepts a rule. It changes nothing.
func Supports(conn *nftables.Conn, exprs []expr.Any) bool {
	return try(conn, 0, func(c *nftables.Conn, t *nftables.Table) {
		ch := c.AddChain(&nftables.Chain{Name: "try", Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: exprs})
	}) == nil
}

// errTry is the kernel's error for the deliberate error, a table created twice. Missing features
// have other errors.
const errTry = unix.EEXIST

// try sends a trial transaction for a table that is never created.
func try(conn *nftables.Conn, flags nftables.TableFlags, ask func(*nftables.Conn, *nftables.Table)) error {
	t := &nftables.Table{Name: TableName + "_probe", Family: nftables.TableFamilyINet, Flags: flags}
	conn.AddTable(t)
	ask(conn, t)
	conn.CreateTable(t)
	switch err := conn.Flush(); {
	case errors.Is(err, errTry):
		return nil
	case err == nil: // unexpected; the table exists then
		conn.DelTable(t)
		return errors.Join(fmt.Errorf("table %s was created twice", t.Name), conn.Flush())
	default:
		return err
	}
}
