package iptables

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// ForwardChains lists the base chains of nf_tables at the forward hook, but for those that our own rules are in.
func (b *Backend) ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error) {
	if err := ctx.Err(); err != nil || b.watcher.nft == nil {
		return nil, err
	}
	all, err := b.watcher.nft.forwardChains()
	return slices.DeleteFunc(all, func(c firewall.ForwardChain) bool {
		return b.flavour == NFT && c.Family != "inet" && c.Table == "filter" && c.Name == "FORWARD"
	}), err
}
