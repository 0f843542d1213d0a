package preflight

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// PortInUse returns an error if a program of this host uses the UDP port of the tunnel. VXLAN interfaces share it with
// each other.
func PortInUse() error {
	for _, path := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		data, err := os.ReadFile(path)
		if err != nil || !portTaken(string(data), TunnelPort) {
			continue
		}
		links, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
		if err == nil && servesVXLAN(links, TunnelPort) {
			return nil
		}
		return fault.New(fault.Busy, fmt.Sprintf("port %d/udp", TunnelPort),
			"is needed for packets between hosts, and a program of this host uses it",
			fault.WithCause(err), fault.WithHint("stop the program: ss -lunp sport = %d", TunnelPort))
	}
	return nil
}

// servesVXLAN reports whether a VXLAN interface that is up has the UDP port, by a dump of all interfaces. The socket
// is then the kernel's. It is bound to all addresses of a family, so that no program can have them.
func servesVXLAN(dump []byte, port uint16) bool {
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWLINK || len(m.Data) < syscall.SizeofIfInfomsg {
			continue
		}
		flags := binary.NativeEndian.Uint32(m.Data[8:]) // of struct ifinfomsg
		info := attribute(m.Data[syscall.SizeofIfInfomsg:], unix.IFLA_LINKINFO)
		kind := strings.TrimRight(string(attribute(info, unix.IFLA_INFO_KIND)), "\x00")
		its := attribute(attribute(info, unix.IFLA_INFO_DATA), unix.IFLA_VXLAN_PORT)
		if flags&syscall.IFF_UP != 0 && kind == "vxlan" && len(its) == 2 && binary.BigEndian.Uint16(its) == port {
			return true
		}
	}
	return false
}

// attribute returns the value of a netlink attribute; nil if there is none.
func attribute(b []byte, kind uint16) []byte {
	const header, align, flags = 4, 4, unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	for len(b) >= header {
		length := int(binary.NativeEndian.Uint16(b))
		if length < header || length > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^flags == kind {
			return b[header:length]
		}
		b = b[min(len(b), (length+align-1)&^(align-1)):]
	}
	return nil
}
