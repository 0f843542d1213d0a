package holder

import (
	"errors"
	"os"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	nobody      = 65534
	processName = "fairlead-holder"
	lastCap     = 63 // the largest possible capability
)

// dropPrivileges drops all privileges of the process. In a user namespace without the user nobody,
// or without the capability to change the user, the process keeps its user, without capabilities.
func dropPrivileges() error {
	debug.SetGCPercent(20)
	_ = os.WriteFile("/proc/self/comm", []byte(processName), 0)
	os.Clearenv()
	if err := os.Chdir("/"); err != nil {
		return err
	}

	for c := range uintptr(lastCap + 1) {
		_ = prctl(unix.PR_CAPBSET_DROP, c) // fails for unknown capabilities and without CAP_SETPCAP
	}
	if os.Geteuid() == 0 {
		_ = errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody))
	}
	return errors.Join(noCapabilities(), prctl(unix.PR_SET_NO_NEW_PRIVS, 1), prctl(unix.PR_SET_DUMPABLE, 0))
}

// noCapabilities drops all capabilities of all threads.
func noCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)),
		uintptr(unsafe.Pointer(&none)), 0)
	return known(errno)
}

func prctl(option, argument uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, argument, 0, 0, 0, 0)
	return known(errno)
}

// known converts errno to an error. It ignores ENOTSUP: a cgo program, such as one with the race
// detector, cannot change all threads.
func known(errno syscall.Errno) error {
	if errno == 0 || errno == unix.ENOTSUP {
		return nil
	}
	return errno
}
