package kernel

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour is a permanent neighbour entry.
type Neighbour struct {
	Addr netip.Addr
	MAC  net.HardwareAddr
}

// PutNeighbour adds or replaces a permanent entry on a link. Permanent entries cost no ARP round
// trip and do not count towards the kernel's limit of the neighbour table.
func (h *Host) PutNeighbour(link int, n Neighbour) error { return putNeighbour(h.handle, link, n) }

func putNeighbour(handle *netlink.Handle, link int, n Neighbour) error {
	return wrap("neighbour "+n.Addr.String(), retry(func() error { return handle.NeighSet(neigh(link, n)) }))
}

func neigh(link int, n Neighbour) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link, Family: familyOf(n.Addr), State: netlink.NUD_PERMANENT,
		Type: unix.RTN_UNICAST,
		IP:   n.Addr.AsSlice(), HardwareAddr: n.MAC}
}

// DeleteNeighbour deletes an entry. It does nothing if the entry does not exist.
func (h *Host) DeleteNeighbour(link int, addr netip.Addr) error {
	err := retry(func() error { return h.handle.NeighDel(neigh(link, Neighbour{Addr: addr})) })
	if missing(err) {
		return nil
	}
	return wrap("delete neighbour "+addr.String(), err)
}

// Neighbours returns the permanent unicast entries of a link.
func (h *Host) Neighbours(link int) ([]Neighbour, error) {
	all, err := h.neighbours(link)
	return all, wrap("list neighbours", err)
}
