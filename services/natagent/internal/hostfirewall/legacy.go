package hostfirewall

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// commandTimeout is the maximum run time of a command.
const commandTimeout = 10 * time.Second

// legacy reads the filter tables of legacy iptables, which are separate from nf_tables and have no
// events.
type legacy struct {
	ns       hostns.NS
	versions [2]legacyVersion

	mu sync.Mutex
}

// legacyVersion reads the table of IPv4 or IPv6.
type legacyVersion struct {
	family, command, names string
	domain, level          int
	next, counters         int // offsets in struct ipt_entry and ip6t_entry
	size                   int // the size of that struct

	known bool
	stamp uint64
	table table
}

func newLegacy(ns hostns.NS) *legacy {
	return &legacy{ns: ns, versions: [2]legacyVersion{
		{family: "ip", command: "iptables-legacy-save", names: "ip_tables_names", domain: unix.AF_INET,
			level: unix.SOL_IP, next: 90, counters: 96, size: 112},
		{family: "ip6", command: "ip6tables-legacy-save", names: "ip6_tables_names", domain: unix.AF_INET6,
			level: unix.SOL_IPV6, next: 142, counters: 152, size: 168},
	}}
}

// get returns the filter table of a family, if it exists.
func (l *legacy) get(ctx context.Context, ipv4 bool) []table {
	v := &l.versions[1]
	if ipv4 {
		v = &l.versions[0]
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	there, stamp, ok := v.look(l.ns)
	if !there {
		v.known = false
		return nil
	}

	if !v.known || !ok || v.stamp != stamp {
		v.table, v.stamp, v.known = parseSave(v.family, string(run(ctx, l.ns, v.command, "-t", "filter"))), stamp, true
	}

	return []table{v.table}
}

// look reports whether the filter table exists, and returns a stamp that changes with its rules; ok
// is false without stamp.
func (v *legacyVersion) look(ns hostns.NS) (there bool, stamp uint64, ok bool) {
	_ = ns.Do(func() error {
		names, err := os.ReadFile("/proc/thread-self/net/" + v.names)
		if there = err == nil && slices.Contains(strings.Fields(string(names)), "filter"); !there {
			return err
		}
		fd, err := unix.Socket(v.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		stamp, ok = v.hash(fd)
		return nil
	})

	return there, stamp, ok
}

// Options of linux/netfilter_ipv4/ip_tables.h, equal to those of ip6_tables.h, and offsets in their
// results.
const (
	getInfo, getEntries = 64, 65
	infoSize, infoBytes = 84, 80
	entriesHead         = 40
	nameLength          = 32
)

// hash returns a hash of all rules without their counters.
func (v *legacyVersion) hash(fd int) (uint64, bool) {
	info := make([]byte, infoSize)
	copy(info, "filter")
	if !getsockopt(fd, v.level, getInfo, info) {
		return 0, false
	}

	size := binary.NativeEndian.Uint32(info[infoBytes:])
	all := make([]byte, entriesHead+int(size))
	copy(all, "filter")
	binary.NativeEndian.PutUint32(all[nameLength:], size)
	if !getsockopt(fd, v.level, getEntries, all) {
		return 0, false // the table has changed since
	}

	rules, at := all[entriesHead:], 0
	for at+v.size <= len(rules) {
		next := int(binary.NativeEndian.Uint16(rules[at+v.next:]))
		clear(rules[at+v.counters : at+v.size])
		if next < v.size {
			return 0, false
		}
		at += next
	}

	h := fnv.New64a()
	_, _ = h.Write(rules)
	return h.Sum64(), true
}

func getsockopt(fd, level, option int, into []byte) bool {
	size := uint32(len(into))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&into[0])), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0
}

// run returns the output of a command in the host's network namespace; nil if it fails.
func run(ctx context.Context, ns hostns.NS, name string, args ...string) []byte {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var out strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.WaitDelay = &out, time.Second
	if ns.Do(cmd.Start) != nil || cmd.Wait() != nil {
		return nil
	}
	return []byte(out.String())
}
