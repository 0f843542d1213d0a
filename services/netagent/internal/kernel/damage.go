package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// eventBuffer is the size of the receive buffer: enough for a burst of launches.
const eventBuffer = 4 << 20

// HostNamespace is the Namespace of damage in the host's own namespace.
const HostNamespace = -1

// Damage is an event that may mean the loss of an interface, an address or a route.
type Damage struct {
	Namespace int    // ID in the host's namespace; HostNamespace for the host itself
	Link      string // link name; empty for addresses and routes
	Index     int    // link index of an address or a route
	Program   string // program that caused the event; empty if unknown
	Lost      bool   // events were dropped: anything may have been lost
}

// WatchDamage reports damage in the host's namespace and in all namespaces connected with it. One
// socket receives the events of all of them. It returns nil when ctx ends, and an error if the
// kernel refuses the subscription.
func (h *Host) WatchDamage(ctx context.Context, report func(Damage)) error {
	groups := []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
		unix.RTNLGRP_IPV6_ROUTE}
	return h.watchAll(ctx, unix.NETLINK_ROUTE, groups, func() {
		report(Damage{Lost: true})
	}, func(namespace int, m syscall.NetlinkMessage) {
		if d, ok := damageIn(m, namespace == HostNamespace); ok {
			d.Namespace, d.Program = namespace, program(m.Header.Pid)
			report(d)
		}
	})
}

// watchAll receives events from the host's namespace and all namespaces that have an ID in it.
func (h *Host) watchAll(ctx context.Context, protocol int, groups []uint, lost func(),
	each func(int, syscall.NetlinkMessage)) error {
	at := netns.None()
	if h.ns != nil {
		at = netns.NsHandle(h.ns.Fd())
	}

	socket, err := nl.GetNetlinkSocketAt(at, netns.None(), protocol)
	if err != nil {
		return fmt.Errorf("netlink events: %w", err)
	}

	fd, err := unix.Dup(socket.GetFd())
	socket.Close()
	if err != nil {
		return fmt.Errorf("netlink events: %w", err)
	}

	unix.CloseOnExec(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) // a smaller buffer works too
	errs := []error{unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.SOL_NETLINK,
		unix.NETLINK_LISTEN_ALL_NSID, 1)}
	for _, g := range groups {
		errs = append(errs, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)))
	}

	file := os.NewFile(uintptr(fd), "netlink")
	defer file.Close()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("netlink events: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = file.Close() })()
	return readAll(ctx, file, lost, each)
}

func readAll(ctx context.Context, file *os.File, lost func(), each func(int, syscall.NetlinkMessage)) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}

	buf, control := make([]byte, 64<<10), make([]byte, 128)
	for {
		var n, oobn int
		var got error
		err := conn.Read(func(fd uintptr) bool {
			n, oobn, _, _, got = unix.Recvmsg(int(fd), buf, control, 0)
			return !errors.Is(got, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("netlink events: %w", err)
		case errors.Is(got, unix.ENOBUFS):
			lost()
			continue
		case errors.Is(got, unix.EINTR):
			continue
		case got != nil:
			return fmt.Errorf("netlink events: %w", got)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			continue
		}
		for _, m := range messages {
			each(numberIn(control[:oobn]), m)
		}
	}
}

// numberIn returns the ID of the namespace that an event comes from.
func numberIn(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return HostNamespace
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(m.Data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	return HostNamespace
}

// damageIn parses an event; ok is false if it reports no loss. Something created or set up is not a
// loss.
func damageIn(m syscall.NetlinkMessage, ofHost bool) (d Damage, ok bool) {
	switch m.Header.Type {
	case unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return d, false
		}
		return Damage{Index: int(nl.DeserializeIfAddrmsg(m.Data).Index)}, true
	case unix.RTM_DELROUTE:
		return lostRoute(m.Data)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg {
			return d, false
		}
		info := nl.DeserializeIfInfomsg(m.Data)
		d = Damage{Link: linkName(m.Data)}
		const created = ^uint32(0)
		down := info.Flags&unix.IFF_UP == 0 && info.Change != created
		return d, d.Link != "" && (m.Header.Type == unix.RTM_DELLINK || down || ofHost && info.Change != created &&
			!hasMaster(m.Data))
	}
	return d, false
}

func hasMaster(data []byte) (has bool) {
	attributes(data, unix.SizeofIfInfomsg, func(kind uint16, _ []byte) { has = has || kind == unix.IFLA_MASTER })
	return has
}

// lostRoute parses the deletion of a unicast route of the main table.
func lostRoute(data []byte) (d Damage, ok bool) {
	if len(data) < unix.SizeofRtMsg {
		return d, false
	}

	r := nl.DeserializeRtMsg(data)
	if r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST || r.Flags&unix.RTM_F_CLONED != 0 {
		return d, false
	}

	attributes(data, unix.SizeofRtMsg, func(kind uint16, value []byte) {
		if kind == unix.RTA_OIF && len(value) == 4 {
			d.Index = int(binary.NativeEndian.Uint32(value))
		}
	})
	return d, d.Index != 0
}

// program returns the name of the process whose socket caused an event; empty if unknown. The port
// ID of a socket is the process ID, unless the process has several sockets.
func program(port uint32) string {
	if port == 0 || int(port) == os.Getpid() {
		return ""
	}
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(int(port)) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(comm))
}

// NamespaceNumber returns the ID that a pinned namespace has in the host's namespace. ok is false
// if it has none.
func (h *Host) NamespaceNumber(path string) (number int, ok bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	number, err = retried(func() (int, error) { return h.handle.GetNetNsIdByFd(int(f.Fd())) })
	runtime.KeepAlive(f)
	return number, err == nil && number >= 0, wrap("number of network namespace", err)
}

// adoptRenamed restores the name of a bridge that another program has renamed. It finds the bridge
// by its alias, and returns the name that the bridge had; empty if there is no such bridge.
func (h *Host) adoptRenamed(name, alias string) (was string, err error) {
	links, err := h.Links()
	if err != nil {
		return "", err
	}

	for _, l := range links {
		if l.Kind != "bridge" || l.Alias != alias {
			continue
		}
		link, err := h.link(l.Name)
		if err != nil {
			return "", err
		}
		err = retry(func() error { return h.handle.LinkSetName(link, name) })
		if errors.Is(err, unix.EBUSY) { // kernels before 6.2 can only rename links that are down
			err = errors.Join(h.handle.LinkSetDown(link), h.handle.LinkSetName(link, name))
		}
		return l.Name, wrap("rename "+l.Name, err)
	}

	return "", nil
}

// WatchRules reports deleted nftables rules of a table, with the contract of WatchDamage.
func (h *Host) WatchRules(ctx context.Context, table string, report func(Damage)) error {
	const group = unix.NFNLGRP_NFTABLES
	lost := func() { report(Damage{Lost: true}) }
	deleted := map[int]bool{} // namespaces with an open transaction that deletes rules
	return h.watchAll(ctx, unix.NETLINK_NETFILTER, []uint{group}, lost, func(namespace int, m syscall.NetlinkMessage) {
		const header = 4 // size of struct nfgenmsg
		if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < header {
			return
		}

		switch m.Header.Type & 0xff {
		case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE:
			deleted[namespace] = deleted[namespace] || firstText(m.Data[header:], unix.NFTA_TABLE_NAME) == table
		case unix.NFT_MSG_NEWGEN:
			if deleted[namespace] {
				delete(deleted, namespace)
				report(Damage{Namespace: namespace, Program: firstText(m.Data[header:], unix.NFTA_GEN_PROC_NAME)})
			}
		}
	})
}

// firstText returns a text attribute. Tables, chains and rules store the table name in the same
// one.
func firstText(data []byte, wanted uint16) (text string) {
	attributes(data, 0, func(kind uint16, value []byte) {
		if kind == wanted && text == "" {
			text = nl.BytesToString(value)
		}
	})
	return text
}
