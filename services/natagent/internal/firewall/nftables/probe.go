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

// Probe finds out by trying whether the kernel can do all that the table needs. Nothing is left behind, not even for a
// moment: each try is a transaction that ends with a mistake made on purpose, so that the kernel checks it and drops it.
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
		return fault.New(fault.Denied, "nf_tables", "may not be used", fault.WithCause(err),
			fault.WithHint("run natagent as root, or give it CAP_NET_ADMIN"))
	}
	return fault.New(fault.Unavailable, "kernel", "has no "+what, fault.WithCause(err),
		fault.WithHint("load or build it (%s)", config))
}

// need is something without which the table cannot be.
type need struct {
	what, config string
	ask          func(*nftables.Conn, *nftables.Table)
}

func needs() []need {
	withRule := func(kind nftables.ChainType, hook *nftables.ChainHook, exprs ...expr.Any) func(*nftables.Conn, *nftables.Table) {
		return func(c *nftables.Conn, t *nftables.Table) {
			for _, s := range sets(t) {
				_ = c.AddSet(s, nil)
			}
			ch := c.AddChain(&nftables.Chain{Name: "try", Table: t, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityNATSource})
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
		{"nf_tables fib lookups", "CONFIG_NFT_FIB_INET, module nft_fib_inet", withRule(nftables.ChainTypeFilter, pre, toLocal()...)},
		{"nf_tables connection tracking", "CONFIG_NFT_CT, module nft_ct",
			withRule(nftables.ChainTypeFilter, pre, ct(expr.CtKeySTATUS, statusDNAT)...)},
		{"nf_tables address translation", "CONFIG_NFT_NAT, module nft_chain_nat",
			withRule(nftables.ChainTypeNAT, pre, ipv4().dnat(mapPub4Any, false)...)},
		{"nf_tables address translation for IPv6", "CONFIG_NFT_NAT and CONFIG_NF_NAT",
			withRule(nftables.ChainTypeNAT, pre, ipv6().dnat(mapPub6Any, false)...)},
		{"nf_tables masquerading", "CONFIG_NFT_MASQ, module nft_masq", withRule(nftables.ChainTypeNAT, post, masquerade()...)},
	}
}

// errTry is the kernel's answer to the mistake made on purpose, a table made twice. It is none of those that something
// missing gives.
const errTry = unix.EEXIST

// try asks the kernel for something in a table of its own that never comes to be.
func try(conn *nftables.Conn, flags nftables.TableFlags, ask func(*nftables.Conn, *nftables.Table)) error {
	t := &nftables.Table{Name: TableName + "_probe", Family: nftables.TableFamilyINet, Flags: flags}
	conn.AddTable(t)
	ask(conn, t)
	conn.CreateTable(t)
	switch err := conn.Flush(); {
	case errors.Is(err, errTry):
		return nil
	case err == nil: // cannot be; but then the table is there
		conn.DelTable(t)
		return errors.Join(fmt.Errorf("table %s was made twice", t.Name), conn.Flush())
	default:
		return err
	}
}
