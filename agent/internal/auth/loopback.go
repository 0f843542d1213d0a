package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// The layout of sock_diag messages in linux/inet_diag.h: a netlink header, then the request or
// response.
const (
	sockDiagByFamily = 20
	headerSize       = 16
	requestSize      = 56
	uidOffset        = headerSize + 64
)

// loopbackIdentity returns the user of the other end of a TCP connection from this host. The kernel
// knows the owner of the peer socket.
func loopbackIdentity(conn net.Conn, member func(uid uint32) bool) (Identity, error) {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return Identity{}, err
	}

	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return Identity{}, err
	}

	uid, err := socketOwner(remote, local)
	if err != nil {
		return Identity{}, fmt.Errorf("identify client %s: %w", remote, err)
	}

	who := &unix.Ucred{Uid: uid}
	return Identity{local: who, member: member != nil && member(uid), remote: remote.String()}, nil
}

// socketOwner queries the kernel for the user of the TCP socket with the given local and remote
// address.
func socketOwner(from, to netip.AddrPort) (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, err
	}
	if err := unix.Sendto(fd, ownerRequest(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}

	response := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, response, 0)
	switch {
	case err != nil:
		return 0, err
	case n >= headerSize+4 && binary.NativeEndian.Uint16(response[4:]) == unix.NLMSG_ERROR:
		return 0, unix.Errno(-int32(binary.NativeEndian.Uint32(response[headerSize:])))
	case n < uidOffset+4:
		return 0, errors.New("the response of the kernel is too short")
	}
	return binary.NativeEndian.Uint32(response[uidOffset:]), nil
}

// ownerRequest returns a request for exactly one socket.
func ownerRequest(from, to netip.AddrPort) []byte {
	m := make([]byte, headerSize+requestSize)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	r := m[headerSize:]
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if from.Addr().Unmap().Is4() {
		r[0] = unix.AF_INET
	}

	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(r[8:], from.Port())
	binary.BigEndian.PutUint16(r[10:], to.Port())
	copy(r[12:], from.Addr().Unmap().AsSlice())
	copy(r[28:], to.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint32(r[48:], ^uint32(0)) // with any cookie
	binary.NativeEndian.PutUint32(r[52:], ^uint32(0))
	return m
}

// Members returns a function that reports whether a user is in a group, according to the user
// database. It returns false if the group does not exist.
func Members(group string) func(uid uint32) bool {
	return func(uid uint32) bool {
		g, err := user.LookupGroup(group)
		if err != nil {
			return false
		}
		u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
		if err != nil {
			return false
		}
		all, err := u.GroupIds()
		return err == nil && slices.Contains(all, g.Gid)
	}
}
