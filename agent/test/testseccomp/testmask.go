// Package testseccomp simulates kernels without a feature. It runs a test again in a process for
// which a seccomp filter rejects the system calls of the feature.
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

// variable is set in a process that installs the filter.
const variable = "FAIRLEAD_TEST_MASKED"

// WithoutNetfilter runs the calling test again in a process without NETLINK_NETFILTER, and so
// without nf_tables. Child processes inherit this. It reports whether it is called in that process,
// where the test does its work. In the calling process it returns false after that process exits.
func WithoutNetfilter(t *testing.T) (masked bool) {
	t.Helper()
	testns.NeedRoot(t)
	if os.Getenv(variable) != "" {
		arguments := map[uint32]uint32{0: unix.AF_NETLINK, 2: unix.NETLINK_NETFILTER}
		if err := reject(unix.SYS_SOCKET, arguments, unix.EPROTONOSUPPORT); err != nil {
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

// Offsets in struct seccomp_data of seccomp(2): the number of the call, and the low half of its first
// argument. The other arguments follow.
const (
	callNumber    = 0
	firstArgument = 16
)

// reject makes a system call with the given arguments, by index, fail with errno. It applies to all
// threads of this process and to its children.
func reject(call uint32, arguments map[uint32]uint32, errno unix.Errno) error {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return unix.ENOTSUP // the byte order can differ
	}

	allow := uint8(2 * len(arguments)) // instructions to skip: two for each argument that is left
	program := []unix.SockFilter{load(callNumber), unlessEqual(call, allow+1)}
	for at, value := range arguments {
		program = append(program, load(firstArgument+8*at), unlessEqual(value, allow-1))
		allow -= 2
	}

	program = append(program, returnAction(unix.SECCOMP_RET_ERRNO|uint32(errno)), returnAction(unix.SECCOMP_RET_ALLOW))

	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if failed != 0 {
		return failed
	}
	return nil
}

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

// unlessEqual skips the given number of instructions unless the loaded value equals value.
func unlessEqual(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
}

func returnAction(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
