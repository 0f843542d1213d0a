package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// FrameFilter selects the frames that a socket receives. The kernel drops all others, so a busy
// link costs nothing.
type FrameFilter struct {
	kind    uint16
	program []bpf.Instruction
}

const (
	allOf      = 1 << 18 // accepts the whole frame
	auxdataLen = 20      // size of struct tpacket_auxdata
)

// FilterNone drops all frames, for sockets that only send.
func FilterNone() FrameFilter {
	return FrameFilter{program: []bpf.Instruction{bpf.RetConstant{Val: 0}}}
}

// FilterARP accepts ARP.
func FilterARP() FrameFilter {
	return FrameFilter{kind: unix.ETH_P_ARP, program: []bpf.Instruction{bpf.RetConstant{Val: allOf}}}
}

// FilterND accepts IPv6 neighbour and router discovery.
func FilterND() FrameFilter {
	const nextHeader, message, first, last = 14 + 6, 14 + 40, 133, 136
	return FrameFilter{kind: unix.ETH_P_IPV6, program: []bpf.Instruction{
		bpf.LoadAbsolute{Off: nextHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: message, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: first, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: last, SkipTrue: 1},
		bpf.RetConstant{Val: allOf},
		bpf.RetConstant{Val: 0},
	}}
}

// FilterUDP accepts UDP over IPv4 or IPv6 to a port.
func FilterUDP(ipv6 bool, port uint16) FrameFilter {
	if ipv6 {
		return FrameFilter{kind: unix.ETH_P_IPV6, program: []bpf.Instruction{
			bpf.LoadAbsolute{Off: 14 + 6, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 3},
			bpf.LoadAbsolute{Off: 14 + 40 + 2, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
			bpf.RetConstant{Val: allOf},
			bpf.RetConstant{Val: 0},
		}}
	}
	return FrameFilter{kind: unix.ETH_P_IP, program: []bpf.Instruction{
		bpf.LoadAbsolute{Off: 14 + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 14 + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4}, // not the first fragment
		bpf.LoadMemShift{Off: 14},
		bpf.LoadIndirect{Off: 14 + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: allOf},
		bpf.RetConstant{Val: 0},
	}}
}

// PacketSocket sends and receives whole frames on one link. It belongs to the link's namespace,
// whatever thread uses it.
type PacketSocket struct {
	file *os.File
	link int
}

// Packets opens a socket on a link of the host. The caller's thread may be in another namespace.
func (h *Host) Packets(link int, filter FrameFilter) (p *PacketSocket, err error) {
	done := make(chan error, 1)
	go func() { // a new goroutine runs on a thread in the process's namespace
		done <- h.inside(func() (err error) {
			p, err = openPackets(link, filter)
			return err
		})
	}()
	err = <-done
	return p, err
}

// Packets opens a socket on an interface of the namespace. It must be called on the namespace's
// thread.
func (n *Namespace) Packets(name string, filter FrameFilter) (*PacketSocket, error) {
	link, err := retried(func() (netlink.Link, error) { return n.handle.LinkByName(name) })
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	return openPackets(link.Attrs().Index, filter)
}

// openPackets binds the socket last, so that it receives no unfiltered frame.
func openPackets(link int, filter FrameFilter) (*PacketSocket, error) {
	raw, err := bpf.Assemble(filter.program)
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}

	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}

	p := &PacketSocket{file: os.NewFile(uintptr(fd), "packets"), link: link}
	instructions := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		instructions[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}

	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swapped(filter.kind), Ifindex: link}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket: %w", err), p.Close())
	}

	return p, nil
}

// swapped converts a 16-bit number to network byte order.
func swapped(n uint16) uint16 { return n<<8 | n>>8 }

// Close closes the socket and aborts a blocked Read.
func (p *PacketSocket) Close() error { return p.file.Close() }

// SetReadDeadline sets the deadline of later Reads.
func (p *PacketSocket) SetReadDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// Write sends a frame.
func (p *PacketSocket) Write(frame []byte) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	sent := error(nil)
	err = conn.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), frame, 0, &unix.SockaddrLinklayer{Ifindex: p.link})
		return !errors.Is(sent, unix.EAGAIN)
	})
	return wrap("send frame", errors.Join(err, sent))
}

// Read returns the next frame from another host. unsummed reports that its checksums were not
// computed, as for frames from the same host.
func (p *PacketSocket) Read(buf []byte) (n int, unsummed bool, err error) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return 0, false, err
	}

	var got error
	control := make([]byte, unix.CmsgSpace(auxdataLen))
	err = conn.Read(func(fd uintptr) bool {
		for {
			var oobn int
			var from unix.Sockaddr
			n, oobn, _, from, got = unix.Recvmsg(int(fd), buf, control, 0)
			if at, ok := from.(*unix.SockaddrLinklayer); got == nil && ok && at.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if got == nil {
				unsummed = checksumPartial(control[:oobn])
			}
			return !errors.Is(got, unix.EAGAIN) && !errors.Is(got, unix.EINTR)
		}
	})
	if err != nil {
		return 0, false, err // deadline exceeded, or socket closed
	}

	return n, unsummed, got
}

func checksumPartial(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}
