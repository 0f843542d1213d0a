package hostfirewall

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// interfaceTo returns the interface of the route to an address, which packets from it usually enter
// by. It returns "" and 0 without route. The kernel looks it up, so that no links or addresses are
// listed.
func interfaceTo(ns hostns.NS, a netip.Addr) (name string, index int) {
	_ = ns.Do(func() (err error) {
		if index, err = outgoing(a); err == nil && index != 0 {
			name, err = nameOf(index)
		}
		return err
	})
	if name == "" {
		index = 0
	}
	return name, index
}

// outgoing returns the output interface of the route to an address.
func outgoing(a netip.Addr) (index int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, routeRequest(a), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("sendto", err)
	}

	answer := make([]byte, os.Getpagesize())
	n, _, err := unix.Recvfrom(fd, answer, unix.MSG_DONTWAIT) // queued before sendto returns
	if err != nil {
		return 0, os.NewSyscallError("recvfrom", err)
	}

	messages, err := syscall.ParseNetlinkMessage(answer[:n])
	if err != nil || len(messages) == 0 || messages[0].Header.Type != unix.RTM_NEWROUTE {
		return 0, err
	}

	attrs, err := syscall.ParseNetlinkRouteAttr(&messages[0])
	for _, attr := range attrs {
		if attr.Attr.Type == unix.RTA_OIF && len(attr.Value) == 4 {
			index = int(binary.NativeEndian.Uint32(attr.Value))
		}
	}

	return index, err
}

func routeRequest(a netip.Addr) []byte {
	family := byte(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}

	size := unix.NLMSG_HDRLEN + unix.SizeofRtMsg + unix.SizeofRtAttr + a.BitLen()/8
	data := binary.NativeEndian.AppendUint32(nil, uint32(size))
	data = binary.NativeEndian.AppendUint16(data, unix.RTM_GETROUTE)
	data = binary.NativeEndian.AppendUint16(data, unix.NLM_F_REQUEST)
	data = append(data, make([]byte, 8)...) // sequence and port
	data = append(data, family, byte(a.BitLen()))
	data = append(data, make([]byte, unix.SizeofRtMsg-2)...)
	data = binary.NativeEndian.AppendUint16(data, uint16(unix.SizeofRtAttr+a.BitLen()/8))
	data = binary.NativeEndian.AppendUint16(data, unix.RTA_DST)
	return append(data, a.AsSlice()...)
}

// nameOf returns the name of an interface.
func nameOf(index int) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var request [40]byte // struct ifreq
	binary.NativeEndian.PutUint32(request[interfaceName:], uint32(index))
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFNAME,
		uintptr(unsafe.Pointer(&request[0]))); errno != 0 {
		return "", os.NewSyscallError("ioctl", errno)
	}
	return unix.ByteSliceToString(request[:interfaceName]), nil
}
