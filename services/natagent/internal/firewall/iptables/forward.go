package iptables

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// ForwardChains lists the nf_tables base chains at the forward hook, except iptables' own FORWARD
// chain.
func (b *Backend) ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error) {
	if err := ctx.Err(); err != nil || b.watcher.nft == nil {
		return nil, err
	}
	all, err := b.watcher.nft.forwardChains()
	return slices.DeleteFunc(all, func(c firewall.ForwardChain) bool {
		return b.flavour == NFT && c.Family != "inet" && c.Table == "filter" && c.Name == "FORWARD"
	}), err
}
