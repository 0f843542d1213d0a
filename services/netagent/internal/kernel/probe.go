package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Probe tries to create namespaces, bridges and veth pairs. It does so in a temporary namespace and
// does not change the host.
func Probe() error {
	return NewNamespace(func(ns *Namespace) error {
		bridge := netlink.NewLinkAttrs()
		bridge.Name = "bridge"
		if err := ns.handle.LinkAdd(&netlink.Bridge{LinkAttrs: bridge}); err != nil {
			return fmt.Errorf("create bridge: %w", err)
		}
		pair := netlink.NewLinkAttrs()
		pair.Name = "outer"
		if err := ns.handle.LinkAdd(&netlink.Veth{LinkAttrs: pair, PeerName: "inner"}); err != nil {
			return fmt.Errorf("create veth pair: %w", err)
		}
		return nil
	})
}
