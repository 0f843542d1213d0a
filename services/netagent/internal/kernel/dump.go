package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The lists in this file use raw netlink messages. A host may have thousands of links, addresses
// and routes, and the netlink library reads all of them to find those of one link.

// dump requests a list and calls each with every message: its fixed part and its attributes. begin
// is called before each attempt. Kernels from 4.20 filter by the request's parts.
func (h *Host) dump(ask, answer uint16, begin func(), each func(data []byte), parts ...nl.NetlinkRequestData) error {
	return retry(func() error {
		begin()
		req := &nl.NetlinkRequest{Sockets: h.strict, NlMsghdr: unix.NlMsghdr{
			Len: unix.SizeofNlMsghdr, Type: ask, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}}
		for _, p := range parts {
			req.AddData(p)
		}
		return req.ExecuteIter(unix.NETLINK_ROUTE, answer, func(data []byte) bool {
			each(data)
			return true
		})
	})
}

// attributes calls each with every attribute that follows a message's fixed part.
func attributes(data []byte, fixed int, each func(kind uint16, value []byte)) {
	for fixed < len(data) {
		rest := data[fixed:]
		if len(rest) < unix.SizeofRtAttr {
			return
		}
		length, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if length < unix.SizeofRtAttr || length > len(rest) {
			return
		}
		each(kind, rest[unix.SizeofRtAttr:length])
		fixed += (length + 3) &^ 3
	}
}

// addresses returns the addresses of a link; FAMILY_ALL selects both families.
func (h *Host) addresses(link, family int) ([]netip.Prefix, error) {
	all, err := h.addressesBy(link, family)
	if err != nil {
		return nil, fmt.Errorf("list addresses of link %d: %w", link, err)
	}
	return all[link], nil
}

// addressesBy returns the addresses of a link, or of all links if link is 0, by link index.
func (h *Host) addressesBy(link, family int) (map[int][]netip.Prefix, error) {
	out := map[int][]netip.Prefix{}
	err := h.eachAddress(link, family, func() {
		clear(out)
	}, func(index int, a netip.Prefix, _ uint8) { out[index] = append(out[index], a) })
	return out, err
}

// eachAddress calls each with every address of a link and its flags; link 0 selects all links. It
// calls restart before each attempt.
func (h *Host) eachAddress(link, family int, restart func(), each func(index int, a netip.Prefix, flags uint8)) error {
	header := nl.NewIfAddrmsg(family)
	header.Index = uint32(link)
	return h.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, restart, func(data []byte) {
		if len(data) < unix.SizeofIfAddrmsg {
			return
		}
		m := nl.DeserializeIfAddrmsg(data)
		index, a := int(m.Index), addressIn(data)
		if a.IsValid() && (link == 0 || index == link) && (family == netlink.FAMILY_ALL || int(m.Family) == family) {
			each(index, netip.PrefixFrom(a, int(m.Prefixlen)), m.Flags)
		}
	}, header)
}

// addressIn parses an address message. It prefers IFA_LOCAL to IFA_ADDRESS, which is the peer's on
// point-to-point links.
func addressIn(data []byte) (found netip.Addr) {
	attributes(data, unix.SizeofIfAddrmsg, func(kind uint16, value []byte) {
		if a, ok := netip.AddrFromSlice(value); ok &&
			(kind == unix.IFA_LOCAL || kind == unix.IFA_ADDRESS && !found.IsValid()) {
			found = a
		}
	})
	return found
}

// names returns the names of all links by index.
func (h *Host) names() (map[int]string, error) {
	out := map[int]string{}
	err := h.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, func() { clear(out) }, func(data []byte) {
		if len(data) < unix.SizeofIfInfomsg {
			return
		}
		index := int(nl.DeserializeIfInfomsg(data).Index)
		attributes(data, unix.SizeofIfInfomsg, func(kind uint16, value []byte) {
			if kind == unix.IFLA_IFNAME {
				out[index] = nl.BytesToString(value)
			}
		})
	}, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}

	return out, nil
}

// foundRoute is a route with the index of its link.
type foundRoute struct {
	to   netip.Prefix
	link int
}

// mainRoutes returns the routes of the main table to networks. It omits default routes and routes
// to link-local or multicast addresses.
func (h *Host) mainRoutes() ([]foundRoute, error) {
	var all []foundRoute
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var some []foundRoute
		header := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Table: unix.RT_TABLE_MAIN}}
		err := h.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, func() { some = nil }, func(data []byte) {
			if r, ok := routeIn(data); ok {
				some = append(some, r)
			}
		}, header)
		// no such table, or no IPv6
		if err != nil && !missing(err) && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		all = append(all, some...)
	}

	return all, nil
}

// routesBy returns the destinations of a link's routes in the main table.
func (h *Host) routesBy(link, family int) (map[netip.Prefix]bool, error) {
	out := map[netip.Prefix]bool{}
	header := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Table: unix.RT_TABLE_MAIN}}
	err := h.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, func() { clear(out) }, func(data []byte) {
		if r, ok := routeIn(data); ok && r.link == link {
			out[r.to] = true
		}
	}, header, nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(link))))
	if missing(err) {
		err = nil // the table does not exist yet
	}
	return out, wrap("list routes", err)
}

func routeIn(data []byte) (r foundRoute, ok bool) {
	if len(data) < unix.SizeofRtMsg {
		return r, false
	}

	m := nl.DeserializeRtMsg(data)
	if m.Table != unix.RT_TABLE_MAIN || m.Flags&unix.RTM_F_CLONED != 0 || m.Dst_len == 0 {
		return r, false
	}

	attributes(data, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			if a, is := netip.AddrFromSlice(value); is {
				r.to, ok = netip.PrefixFrom(a, int(m.Dst_len)).Masked(), !a.IsLinkLocalUnicast() && !a.IsMulticast()
			}
		case unix.RTA_OIF:
			if len(value) == 4 {
				r.link = int(binary.NativeEndian.Uint32(value))
			}
		}
	})
	return r, ok
}

// neighbours returns the entries of a link whose state is exactly NUD_PERMANENT.
func (h *Host) neighbours(link int) ([]Neighbour, error) {
	var out []Neighbour
	header := &netlink.Ndmsg{}
	err := h.dump(unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, func() { out = nil }, func(data []byte) {
		if len(data) < header.Len() {
			return
		}

		var m netlink.Ndmsg
		m.Family, m.Index, m.State, m.Flags = data[0], binary.NativeEndian.Uint32(
			data[4:]), binary.NativeEndian.Uint16(data[8:]), data[10]
		if int(m.Index) != link || m.State != netlink.NUD_PERMANENT || m.Flags != 0 || m.Family != unix.AF_INET &&
			m.Family != unix.AF_INET6 {
			return
		}

		var n Neighbour
		attributes(data, header.Len(), func(kind uint16, value []byte) {
			switch kind {
			case unix.NDA_DST:
				n.Addr, _ = netip.AddrFromSlice(value)
			case unix.NDA_LLADDR:
				n.MAC = slices.Clone(value)
			}
		})
		if n.Addr = n.Addr.Unmap(); n.Addr.IsValid() {
			out = append(out, n)
		}
	}, header, nl.NewRtAttr(unix.NDA_IFINDEX, nl.Uint32Attr(uint32(link))))
	return out, err
}
