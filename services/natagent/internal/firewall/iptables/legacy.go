package iptables

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// legacy implements generation for ip_tables and ip6_tables. The stamp is the number and size of
// the rules. It misses the replacement of a rule by another one of the same size; a resync finds
// that.
type legacy struct{ sockets []legacySocket }

type legacySocket struct {
	fd, level int
	tables    []string
}

// getInfo is the socket option IPT_SO_GET_INFO and IP6T_SO_GET_INFO.
const getInfo = 64

// tableInfo is struct ipt_getinfo, which equals struct ip6t_getinfo.
type tableInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	entries    uint32
	size       uint32
}

func openLegacy(ns hostns.NS, v6 bool) (*legacy, error) {
	l := &legacy{}
	open := func(domain, level int, tables ...string) error {
		return ns.Do(func() error {
			fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err == nil {
				l.sockets = append(l.sockets, legacySocket{fd, level, tables})
			}
			return os.NewSyscallError("socket", err)
		})
	}

	err := open(unix.AF_INET, unix.SOL_IP, "raw", "filter", "nat")
	if v6 && err == nil {
		err = open(unix.AF_INET6, unix.SOL_IPV6, "filter", "nat")
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}

	return l, nil
}

func (l *legacy) close() error {
	var errs []error
	for _, s := range l.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	return errors.Join(errs...)
}

func (l *legacy) now() ([]uint64, error) {
	var out []uint64
	for _, s := range l.sockets {
		for _, table := range s.tables {
			info := tableInfo{}
			copy(info.name[:], table)
			size := uint32(unsafe.Sizeof(info))
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), uintptr(s.level), getInfo,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
			if errno != 0 {
				return nil, os.NewSyscallError("getsockopt", errno)
			}
			out = append(out, uint64(info.entries)<<32|uint64(info.size))
		}
	}

	return out, nil
}

// after returns before if nothing was written, so that a change during a read is found. How our own
// transactions change the stamp is unknown.
func (l *legacy) after(before []uint64, transactions int) []uint64 {
	if transactions == 0 {
		return before
	}
	return nil
}

func (l *legacy) news() <-chan struct{} { return nil }

// who returns the zero Modifier: ip_tables does not report the program.
func (l *legacy) who() firewall.Modifier { return firewall.Modifier{} }
