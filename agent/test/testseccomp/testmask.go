// Package testseccomp has tests run as on a kernel that lacks something: in a process of their own, in which the kernel refuses it.
package testseccomp

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
)

// variable tells a process that it is to be masked.
const variable = "FAIRLEAD_TEST_MASKED"

// WithoutNetfilter runs the test that calls it once more, in a process for which the kernel has no nf_tables, nor what else is asked for by
// netlink of netfilter, whoever it starts. There it answers true, and false when that is over: what such a test has to do it does where it is true.
func WithoutNetfilter(t *testing.T) (masked bool) {
	t.Helper()
	testns.NeedRoot(t)
	if os.Getenv(variable) != "" {
		if err := refuse(unix.SYS_SOCKET, map[uint32]uint32{0: unix.AF_NETLINK, 2: unix.NETLINK_NETFILTER}, unix.EPROTONOSUPPORT); err != nil {
			t.Fatal(err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("masked: %v\n%s", err, out)
	}
	return false
}

// Where seccomp(2) shows a filter the call's number, and the low half of its first argument; the others follow.
const (
	callNumber    = 0
	firstArgument = 16
)

// refuse has a system call fail with errno from now on, for this process and all that it starts, if it has the given arguments.
func refuse(call uint32, arguments map[uint32]uint32, errno unix.Errno) error {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return unix.ENOTSUP // the halves of arguments may be the other way round
	}
	allow := uint8(2 * len(arguments)) // pairs of instructions to jump over, from the first on
	program := []unix.SockFilter{load(callNumber), unlessEqual(call, allow+1)}
	for at, value := range arguments {
		program = append(program, load(firstArgument+8*at), unlessEqual(value, allow-1))
		allow -= 2
	}
	program = append(program, answer(unix.SECCOMP_RET_ERRNO|uint32(errno)), answer(unix.SECCOMP_RET_ALLOW))
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if failed != 0 {
		return failed
	}
	return nil
}

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

// unlessEqual goes on with the next instruction if what was loaded is a value, and leaves out some otherwise.
func unlessEqual(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
}

func answer(what uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what}
}
