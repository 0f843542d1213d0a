package nftables

import (
	"context"
	"strings"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// ForwardChains implements firewall.Firewall.
func (b *Backend) ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := b.conn.ListChains()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "nf_tables", "cannot list chains")
	}

	names := map[nftables.TableFamily]string{
		nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet",
	}

	var out []firewall.ForwardChain
	for _, c := range all {
		family, own := names[c.Table.Family], isOwnTable(c.Table.Name)
		if own || family == "" || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward {
			continue
		}
		out = append(out, firewall.ForwardChain{Family: family, Table: c.Table.Name, Name: c.Name,
			Drops: c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop})
	}

	return out, nil
}

// isOwnTable reports whether a table belongs to this backend or to netagent's port guard.
func isOwnTable(table string) bool {
	return table == TableName || strings.HasPrefix(table, TableName+"-")
}
