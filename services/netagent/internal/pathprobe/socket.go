package pathprobe

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds probes of one round.
const receiveBuffer = 64 << 10

// openRaw opens the sockets of a host's address.
func openRaw(local netip.Addr) (conn, error) {
	family := "4"
	if local.Is6() {
		family = "6"
	}
	send, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, err
	}
	recv, err := net.ListenIP("ip"+family+":udp", &net.IPAddr{IP: local.AsSlice(), Zone: local.Zone()})
	if err != nil {
		return nil, errors.Join(err, send.Close())
	}
	c := &rawConn{send: send, recv: recv, buf: make([]byte, receiveBuffer)}
	err = errors.Join(control(send, func(fd int) error { return forbidFragments(fd, local) }),
		control(recv, func(fd int) error { return filter(fd, local) }))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func control(c syscall.Conn, do func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

// forbidFragments makes the kernel send packets with up to the MTU of the interface, whole or not at all.
func forbidFragments(fd int, local netip.Addr) error {
	if local.Is6() {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// filter makes the kernel drop all but probes for a raw socket, so that packets of containers cost nothing here. A
// raw socket of IPv4 has the IP header.
func filter(fd int, local netip.Addr) error {
	const accept, drop = 0xffff, 0
	load := []unix.SockFilter{{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}} // X: length of the IP header
	if local.Is6() {
		load = []unix.SockFilter{{Code: unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM, K: 0}}
	}
	program := append(load,
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_IND, K: udpHeader}, // no packet of a tunnel
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: 0},
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_IND, K: udpHeader + magicAt},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: magic},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: accept},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: drop})
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: uint16(len(program)), Filter: &program[0]}) //nolint:gosec // length
}
