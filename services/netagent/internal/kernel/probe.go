package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Probe tries everything that netagent needs in a namespace of its own, which is gone afterwards: making namespaces, bridges
// and veth pairs. It changes nothing on the host.
func Probe() error {
	return NewNamespace(func(ns *Namespace) error {
		bridge := netlink.NewLinkAttrs()
		bridge.Name = "bridge"
		if err := ns.handle.LinkAdd(&netlink.Bridge{LinkAttrs: bridge}); err != nil {
			return fmt.Errorf("make a bridge: %w", err)
		}
		pair := netlink.NewLinkAttrs()
		pair.Name = "outer"
		if err := ns.handle.LinkAdd(&netlink.Veth{LinkAttrs: pair, PeerName: "inner"}); err != nil {
			return fmt.Errorf("make a veth pair: %w", err)
		}
		return nil
	})
}
