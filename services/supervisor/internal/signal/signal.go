// Package signal parses the names of signals, as users and images write them.
package signal

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxSignal is SIGRTMAX on Linux.
const maxSignal = 64

// Parse parses a signal: TERM, SIGTERM, sigterm, 15, RTMIN+3 or RTMAX-3.
func Parse(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > maxSignal {
			return 0, fault.Invalidf("signal "+s, "signal", "a signal number must be between 1 and %d", maxSignal)
		}
		return syscall.Signal(n), nil
	}

	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := signals[name]; ok {
		return n, nil
	}

	if rest, ok := strings.CutPrefix(name, "RTMIN+"); ok {
		if n, err := strconv.Atoi(rest); err == nil && n >= 0 && n <= maxSignal-rtMin {
			return syscall.Signal(rtMin + n), nil
		}
	}

	if rest, ok := strings.CutPrefix(name, "RTMAX-"); ok {
		if n, err := strconv.Atoi(rest); err == nil && n >= 0 && n <= maxSignal-rtMin {
			return syscall.Signal(maxSignal - n), nil
		}
	}

	return 0, fault.New(fault.Invalid, "signal "+s, "Invalid signal: "+s, fault.WithField("signal"),
		fault.WithHint("use a number, RTMIN+n, RTMAX-n or one of %s",
			strings.Join(slices.Sorted(maps.Keys(signals)), ", ")))
}

// rtMin is SIGRTMIN as numbered by the C library.
const rtMin = 34

var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "BUS": syscall.SIGBUS, "CHLD": syscall.SIGCHLD,
	"CLD": syscall.SIGCLD, "CONT": syscall.SIGCONT,
	"FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL, "INT": syscall.SIGINT, "IO": syscall.SIGIO,
	"IOT": syscall.SIGIOT, "POLL": syscall.SIGPOLL,
	"KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "PROF": syscall.SIGPROF, "PWR": syscall.SIGPWR,
	"QUIT":  syscall.SIGQUIT,
	"RTMIN": rtMin, "RTMAX": maxSignal, "SEGV": syscall.SIGSEGV, "STKFLT": syscall.SIGSTKFLT, "STOP": syscall.SIGSTOP,
	"SYS": syscall.SIGSYS, "TERM": syscall.SIGTERM, "TRAP": syscall.SIGTRAP, "TSTP": syscall.SIGTSTP,
	"TTIN": syscall.SIGTTIN,
	"TTOU": syscall.SIGTTOU, "URG": syscall.SIGURG, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"VTALRM": syscall.SIGVTALRM,
	"WINCH":  syscall.SIGWINCH, "XCPU": syscall.SIGXCPU, "XFSZ": syscall.SIGXFSZ,
}
