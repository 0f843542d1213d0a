// Package tunnel defines the size of what the tunnels between the hosts of a fleet add to packets. It performs no
// I/O. Services use it that decide about the MTU of a network or set it.
package tunnel

// Overhead returns the bytes that a tunnel adds to each packet: the headers of Ethernet, IP, UDP and VXLAN, or, if
// the network is encrypted, those of IP, UDP and WireGuard. over6: the addresses of hosts are IPv6.
func Overhead(encrypted, over6 bool) int {
	const ethernet, ipv4, ipv6, udp, vxlan, wireguard = 14, 20, 40, 8, 8, 32
	ip := ipv4
	if over6 {
		ip = ipv6
	}
	if encrypted {
		return ip + udp + wireguard
	}
	return ethernet + ip + udp + vxlan
}
