package kernel

import (
	"encoding/binary"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// PutForwarding writes a static FDB entry: the MAC is behind this bridge port only. It replaces an
// entry that points to another port.
func (h *Host) PutForwarding(port int, mac net.HardwareAddr) error {
	entry := &netlink.Neigh{LinkIndex: port, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP,
		Flags: netlink.NTF_MASTER, HardwareAddr: mac}
	return wrap("FDB entry "+mac.String(), retry(func() error { return h.handle.NeighSet(entry) }))
}

// DeleteForwarding removes a static FDB entry. It does nothing if the entry does not exist.
func (h *Host) DeleteForwarding(port int, mac net.HardwareAddr) error {
	entry := &netlink.Neigh{LinkIndex: port, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP,
		Flags: netlink.NTF_MASTER, HardwareAddr: mac}
	err := retry(func() error { return h.handle.NeighDel(entry) })
	if missing(err) {
		return nil
	}
	return wrap("delete FDB entry "+mac.String(), err)
}

// Forwarding is a static FDB entry.
type Forwarding struct {
	Port int
	MAC  string // in the format of net.HardwareAddr
}

// Forwardings returns the static FDB entries of a bridge.
func (h *Host) Forwardings(bridge int) (map[Forwarding]bool, error) {
	out := map[Forwarding]bool{}
	header := &netlink.Ndmsg{Family: unix.AF_BRIDGE}
	err := h.dump(unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, func() { clear(out) }, func(data []byte) {
		if len(data) < header.Len() || data[0] != unix.AF_BRIDGE {
			return
		}

		port, state := int(binary.NativeEndian.Uint32(data[4:])), binary.NativeEndian.Uint16(data[8:])
		master := 0
		var mac net.HardwareAddr
		attributes(data, header.Len(), func(kind uint16, value []byte) {
			switch kind {
			case unix.NDA_MASTER:
				master = int(binary.NativeEndian.Uint32(value))
			case unix.NDA_LLADDR:
				mac = value
			}
		})
		if master == bridge && state&netlink.NUD_NOARP != 0 {
			out[Forwarding{port, mac.String()}] = true
		}
	}, header, nl.NewRtAttr(unix.NDA_MASTER, nl.Uint32Attr(uint32(bridge))))
	return out, wrap("list FDB entries", err)
}

// tryLocked sets the locked flag of a port and reads it back, as older kernels ignore it silently.
func (n *Namespace) tryLocked(port netlink.Link) error {
	bridge, err := n.handle.LinkByName("bridge")
	if err == nil {
		err = n.handle.LinkSetMaster(port, bridge)
	}

	if err != nil {
		return err
	}

	link, err := n.handle.LinkByName(port.Attrs().Name)
	if err != nil {
		return err
	}

	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	req.AddData(portFlags(Port{Locked: true}))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return err
	}

	get := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	get.AddData(msg)
	answers, err := get.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return err
	}

	for _, data := range answers {
		if portAttribute(data, nl.IFLA_BRPORT_LOCKED) == 1 {
			return nil
		}
	}

	return ErrUnsupported
}

// portAttribute returns a one-byte attribute of a bridge port from a link message; 0 if it is
// missing.
func portAttribute(data []byte, wanted uint16) (value byte) {
	const masked = ^uint16(unix.NLA_F_NESTED)
	attributes(data, unix.SizeofIfInfomsg, func(kind uint16, info []byte) {
		if kind&masked != unix.IFLA_LINKINFO {
			return
		}
		attributes(info, 0, func(kind uint16, flags []byte) {
			if kind&masked != nl.IFLA_INFO_SLAVE_DATA {
				return
			}
			attributes(flags, 0, func(kind uint16, flag []byte) {
				if kind == wanted && len(flag) > 0 {
					value = flag[0]
				}
			})
		})
	})
	return value
}
