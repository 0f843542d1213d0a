package iptables

import (
	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// nfTables reads nf_tables without changing it. The stamp is the number of the last transaction.
type nfTables struct {
	conn      *nflink.Link
	last      uint32 // the last stamp
	modifiers *modifierLog
}

func openNFTables(ns hostns.NS) (*nfTables, error) {
	conn, err := nflink.Open(ns)
	if err != nil {
		return nil, err
	}
	return &nfTables{conn: conn}, nil
}

func (n *nfTables) close() error {
	if n.modifiers != nil {
		n.modifiers.close()
	}
	return n.conn.Close()
}

func (n *nfTables) now() ([]uint64, error) {
	gen, err := n.conn.GetGen()
	if err != nil {
		return nil, err
	}
	n.last = gen.ID
	return []uint64{uint64(gen.ID)}, nil
}

func (n *nfTables) who() firewall.Modifier { return n.modifiers.of(n.last) }

func (n *nfTables) news() <-chan struct{} {
	n.modifiers.mu.Lock()
	defer n.modifiers.mu.Unlock()
	return n.modifiers.news
}

func (n *nfTables) after(before []uint64, transactions int) []uint64 {
	if len(before) != 1 {
		return before
	}
	return []uint64{uint64(uint32(before[0]) + uint32(transactions))}
}

func (n *nfTables) forwardChains() ([]firewall.ForwardChain, error) {
	all, err := n.conn.ListChains()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot list chains")
	}

	names := map[nftables.TableFamily]string{
		nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet",
	}

	var out []firewall.ForwardChain
	for _, c := range all {
		if names[c.Table.Family] == "" || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward {
			continue
		}
		out = append(out, firewall.ForwardChain{Family: names[c.Table.Family], Table: c.Table.Name, Name: c.Name,
			Drops: c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop})
	}

	return out, nil
}
