package kernel

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Veth is a pair: one end on the host, the other in a container.
type Veth struct {
	Name    string
	MAC     net.HardwareAddr
	Peer    string // the name inside
	PeerMAC net.HardwareAddr
	MTU     int
	Bridge  int // the index of the bridge that the host's end is a port of
}

// AddVeth makes the pair, its host end a port of the bridge and its other end in the namespace, in one message. Both are
// down. If the bridge cannot take it there is no pair.
func (h *Host) AddVeth(v Veth, ns *Namespace) error {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Peer))
	peer.AddRtAttr(unix.IFLA_ADDRESS, v.PeerMAC)
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU)))
	peer.AddRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(0))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.file.Fd())))
	parts := []nl.NetlinkRequestData{
		nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU))),
		nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(0)),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(v.Bridge))),
		info,
	}
	if v.MAC != nil {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_ADDRESS, v.MAC))
	}
	return wrap("make veth "+v.Name, h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...))
}

// Port is how a port of a bridge shall be.
type Port struct {
	Name     string
	Alias    string
	Isolated bool // may not talk to other isolated ports
	Locked   bool // accepts only frames from the MACs that PutForwarding has written
}

// SetPort sets a port's alias and flags and brings it up, in one message. Hairpin mode is always on: what a container sends to
// its own published port may have to leave by the port that it came in by. A locked port learns no MACs; kernels before 5.18
// lack the lock itself.
func (h *Host) SetPort(p Port) error {
	up := nl.NewIfInfomsg(unix.AF_UNSPEC)
	up.Flags, up.Change = unix.IFF_UP, unix.IFF_UP
	return wrap("set port "+p.Name, h.send(unix.RTM_NEWLINK, 0, up,
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(p.Name)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(p.Alias)),
		portFlags(p)))
}

// bridgePortDisabled is a port's state in which it neither forwards nor learns.
const bridgePortDisabled = 0

// DisablePort makes a port deaf and dumb and has the bridge forget what is behind it, at once and without waiting for anything.
// Whoever gets the address next has all of its traffic. No error if it is gone already, or is no port.
//
// It is the bridge's own message: by way of the link's the kernel would look at the carrier afterwards, and open the port again.
func (h *Host) DisablePort(name string, macs ...net.HardwareAddr) error {
	link, err := h.link(name)
	if missing(err) || err == nil && link.Attrs().MasterIndex == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(link.Attrs().Index)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(nl.IFLA_BRPORT_STATE, []byte{bridgePortDisabled})
	port.AddRtAttr(nl.IFLA_BRPORT_FLUSH, nil)
	err = h.send(unix.RTM_SETLINK, 0, msg, port)
	for _, mac := range macs { // what is static is not flushed
		err = errors.Join(err, h.DeleteForwarding(link.Attrs().Index, mac))
	}
	if missing(err) || errors.Is(err, unix.ENETDOWN) {
		return nil // gone meanwhile, or down
	}
	return wrap("cut port "+name, err)
}

// groupLLDP is the bit of 01:80:c2:00:00:0e. Without it a bridge hands such frames to the port itself, past netfilter, and with an IP
// packet in them to the host.
const groupLLDP = 1 << 0x0e

// portFlags are a port's settings that go with its link's.
func portFlags(p Port) *nl.RtAttr {
	flag := func(on bool) []byte {
		if on {
			return []byte{1}
		}
		return []byte{0}
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	data.AddRtAttr(nl.IFLA_BRPORT_MODE, flag(true)) // hairpin
	data.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, flag(p.Isolated))
	data.AddRtAttr(nl.IFLA_BRPORT_LEARNING, flag(!p.Locked))
	data.AddRtAttr(nl.IFLA_BRPORT_UNICAST_FLOOD, flag(!p.Locked)) // its MAC is in the FDB, so it needs no frames for other MACs
	data.AddRtAttr(nl.IFLA_BRPORT_LOCKED, flag(p.Locked))
	if p.Locked {
		data.AddRtAttr(nl.IFLA_BRPORT_GROUP_FWD_MASK, nl.Uint16Attr(groupLLDP))
	}
	return info
}

// SetMaster makes a link a port of a bridge.
func (h *Host) SetMaster(name string, bridge int) error {
	return wrap("make "+name+" a port", h.send(unix.RTM_NEWLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge)))))
}

// Link is what there is of a link.
type Link struct {
	Name   string
	Index  int
	Kind   string
	Alias  string
	Master int // the index of the bridge that it is a port of; 0 without one
	Up     bool

	Carrier  bool // it passes packets on, as far as the kernel knows
	Loopback bool
	MAC      net.HardwareAddr
	MTU      int
	Parent   int // the index of the link that it is on; 0 without one
	VLAN     int // its 802.1Q id; 0 without one
}

// Link answers one link; false if there is none of that name.
func (h *Host) Link(name string) (Link, bool, error) {
	l, err := h.link(name)
	if missing(err) {
		return Link{}, false, nil
	}
	if err != nil {
		return Link{}, false, fmt.Errorf("look up %s: %w", name, err)
	}
	return linkOf(l), true, nil
}

// Links answers all links of the host.
func (h *Host) Links() ([]Link, error) {
	all, err := retried(h.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make([]Link, len(all))
	for i, l := range all {
		out[i] = linkOf(l)
	}
	return out, nil
}

func linkOf(l netlink.Link) Link {
	a, vlan := l.Attrs(), 0
	if v, ok := l.(*netlink.Vlan); ok {
		vlan = v.VlanId
	}
	return Link{Name: a.Name, Index: a.Index, Kind: l.Type(), Alias: a.Alias, Master: a.MasterIndex, Up: a.Flags&net.FlagUp != 0,
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Loopback: a.Flags&net.FlagLoopback != 0, MAC: a.HardwareAddr,
		MTU: a.MTU, Parent: a.ParentIndex, VLAN: vlan}
}

// DeleteLink takes a link away and waits for the kernel, which takes tens of milliseconds: not for a request's path. No error
// if it is not there.
func (h *Host) DeleteLink(index int) error {
	err := retry(func() error { return h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}) })
	if missing(err) {
		return nil
	}
	return wrap("delete link", err)
}
