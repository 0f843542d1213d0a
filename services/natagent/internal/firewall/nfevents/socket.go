package nfevents

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// maxDatagram is more than the kernel sends, at most 8 KiB.
const maxDatagram = 64 << 10

// errTruncated is the error of a datagram of maxDatagram or more.
var errTruncated = errors.New("datagram is too long")

// socket is a netlink socket that receives transactions. Receiving waits in Go's network poller, not in select(2),
// which fails for descriptors from 1024 on.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

// open subscribes to transactions in a network namespace. The kernel queues up to buffer bytes, if permitted.
func open(ns hostns.NS, buffer int) (*socket, error) {
	fd := -1
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
			unix.NETLINK_NETFILTER)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}

	file := os.NewFile(uintptr(fd), "nf_tables events")
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err == nil {
		err = os.NewSyscallError("setsockopt",
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES))
	}
	raw, rerr := file.SyscallConn()
	if err = errors.Join(err, rerr); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &socket{file, raw}, nil
}

func (s *socket) close() { _ = s.file.Close() }

// read parses datagrams until ctx ends, or until transactions were lost.
func (s *socket) read(ctx context.Context, p *parser) {
	defer context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })()
	buffer := make([]byte, maxDatagram)
	_ = s.raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), buffer)
			if err == nil && n == len(buffer) {
				err = errTruncated
			}
			if err == nil {
				err = p.add(buffer[:n])
			}
			switch {
			case ctx.Err() != nil:
				return true
			case errors.Is(err, unix.EAGAIN):
				return false // wait
			case err != nil && !errors.Is(err, unix.EINTR):
				return true
			}
		}
	})
}
