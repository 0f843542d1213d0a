package kernel

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Veth is a veth pair: the host end and the container end.
type Veth struct {
	Name    string
	MAC     net.HardwareAddr
	Peer    string // name of the container end
	PeerMAC net.HardwareAddr
	MTU     int
	Bridge  int // index of the bridge that the host end is attached to
}

// AddVeth creates a veth pair with one message. The host end is attached to the bridge, the
// container end is in the namespace. Both are down. If the bridge rejects the port, no pair
// remains.
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

	return wrap("create veth "+v.Name, h.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...))
}

// Port is the desired state of a bridge port.
type Port struct {
	Name     string
	Alias    string
	Isolated bool // cannot reach other isolated ports
	Locked   bool // accepts only frames from MACs with an entry by PutForwarding
}

// SetPort sets the alias and flags of a port and sets it up, with one message. Hairpin mode is
// always on: a connection of a container to its own published port leaves through the port that it
// came in by. A locked port learns no MACs; kernels before 5.18 ignore the lock itself.
func (h *Host) SetPort(p Port) error {
	up := nl.NewIfInfomsg(unix.AF_UNSPEC)
	up.Flags, up.Change = unix.IFF_UP, unix.IFF_UP
	return wrap("set port "+p.Name, h.send(unix.RTM_NEWLINK, 0, up,
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(p.Name)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(p.Alias)),
		portFlags(p)))
}

// bridgePortDisabled is the port state without forwarding and learning.
const bridgePortDisabled = 0

// DisablePort disables forwarding and learning on a bridge port and flushes its FDB entries. It
// does not wait for the link to be deleted, so the port's addresses can be reused immediately. It
// does nothing if the port does not exist or is not a bridge port.
//
// It uses an AF_BRIDGE message: with a link message the kernel would check the carrier afterwards
// and enable the port again.
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
	for _, mac := range macs { // a flush keeps static entries
		err = errors.Join(err, h.DeleteForwarding(link.Attrs().Index, mac))
	}

	if missing(err) || errors.Is(err, unix.ENETDOWN) {
		return nil // deleted meanwhile, or down
	}

	return wrap("disable port "+name, err)
}

// groupLLDP is the bit of 01:80:c2:00:00:0e. If it is not set, a bridge delivers such frames to the
// port itself, past netfilter, and an IP packet in them to the host.
const groupLLDP = 1 << 0x0e

// portFlags returns the port settings for a link message.
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
	data.AddRtAttr(nl.IFLA_BRPORT_MODE, flag(true)) // hairpin mode
	data.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, flag(p.Isolated))
	data.AddRtAttr(nl.IFLA_BRPORT_LEARNING, flag(!p.Locked))
	// its MAC is in the FDB, so it needs no frames for other MACs
	data.AddRtAttr(nl.IFLA_BRPORT_UNICAST_FLOOD, flag(!p.Locked))
	data.AddRtAttr(nl.IFLA_BRPORT_LOCKED, flag(p.Locked))
	if p.Locked {
		data.AddRtAttr(nl.IFLA_BRPORT_GROUP_FWD_MASK, nl.Uint16Attr(groupLLDP))
	}

	return info
}

// SetMaster attaches a link to a bridge.
func (h *Host) SetMaster(name string, bridge int) error {
	return wrap("attach "+name+" to bridge", h.send(unix.RTM_NEWLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge)))))
}

// Link is the actual state of a link.
type Link struct {
	Name   string
	Index  int
	Kind   string
	Alias  string
	Master int // index of its bridge; 0 without one
	Up     bool

	Carrier  bool // the kernel reports a carrier
	Loopback bool
	MAC      net.HardwareAddr
	MTU      int
	Parent   int // index of its parent interface; 0 without one
	VLAN     int // 802.1Q ID; 0 without one
}

// Link returns a link; ok is false if it does not exist.
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

// Links returns all links of the host.
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
	return Link{Name: a.Name, Index: a.Index, Kind: l.Type(), Alias: a.Alias, Master: a.MasterIndex,
		Up:      a.Flags&net.FlagUp != 0,
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Loopback: a.Flags&net.FlagLoopback != 0, MAC: a.HardwareAddr,
		MTU: a.MTU, Parent: a.ParentIndex, VLAN: vlan}
}

// DeleteLink deletes a link and waits for the kernel, which takes tens of milliseconds. Requests
// must not wait for it. It does nothing if the link does not exist.
func (h *Host) DeleteLink(index int) error {
	err := retry(func() error { return h.handle.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}) })
	if missing(err) {
		return nil
	}
	return wrap("delete link", err)
}
