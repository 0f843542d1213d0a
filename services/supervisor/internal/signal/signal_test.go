package signal_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// TestSignalsOfDockerAreKnown parses each name that Docker accepts on Linux, in the forms of users
// and of images.
func TestSignalsOfDockerAreKnown(t *testing.T) {
	names := map[string]int{"ABRT": 6, "ALRM": 14, "BUS": 7, "CHLD": 17, "CLD": 17, "CONT": 18, "FPE": 8, "HUP": 1,
		"ILL": 4, "INT": 2, "IO": 29, "IOT": 6, "KILL": 9, "PIPE": 13, "POLL": 29, "PROF": 27, "PWR": 30, "QUIT": 3,
		"SEGV": 11, "STKFLT": 16, "STOP": 19, "SYS": 31, "TERM": 15, "TRAP": 5, "TSTP": 20, "TTIN": 21, "TTOU": 22,
		"URG": 23, "USR1": 10, "USR2": 12, "VTALRM": 26, "WINCH": 28, "XCPU": 24, "XFSZ": 25, "RTMIN": 34, "RTMAX": 64}
	for n := 1; n <= 15; n++ {
		names[fmt.Sprintf("RTMIN+%d", n)] = 34 + n
	}
	for n := 1; n <= 14; n++ {
		names[fmt.Sprintf("RTMAX-%d", n)] = 64 - n
	}

	for name, want := range names {
		for _, text := range []string{name, "SIG" + name, strings.ToLower(name), "sig" + strings.ToLower(name),
			fmt.Sprint(want)} {
			if got, err := signal.Parse(text); err != nil || got != syscall.Signal(want) {
				t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
			}
		}
	}
}

func TestSignalErrorsNameSignal(t *testing.T) {
	for text, want := range map[string]string{
		"0":         "signal 0: a signal number must be between 1 and 64",
		"65":        "signal 65: a signal number must be between 1 and 64",
		"-9":        "signal -9: a signal number must be between 1 and 64",
		"SIGNOPE":   "signal SIGNOPE: Invalid signal: SIGNOPE; use a number, RTMIN+n, RTMAX-n or one of ABRT, ALRM, ",
		"RTMAX+1":   "signal RTMAX+1: Invalid signal: RTMAX+1; ",
		"RTMAX-31":  "signal RTMAX-31: Invalid signal: RTMAX-31; ",
		"RTMIN-1":   "signal RTMIN-1: Invalid signal: RTMIN-1; ",
		"SIGSIGHUP": "signal SIGSIGHUP: Invalid signal: SIGSIGHUP; ",
	} {
		got, err := signal.Parse(text)
		if got != 0 || !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %d, %v, want %s", text, got, err, want)
		}
	}
}

func TestParseAcceptsNamesAndNumbers(t *testing.T) {
	for in, want := range map[string]syscall.Signal{"TERM": 15, "SIGTERM": 15, "sigterm": 15, "9": 9, "RTMIN+3": 37,
		"USR1": 10} {
		if got, err := signal.Parse(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "65", "-1", "SIG", "NOPE", "RTMIN+31", "RTMIN+-1"} {
		if got, err := signal.Parse(in); err == nil {
			t.Errorf("%q: got %v, want error", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"SIGTERM", "9", "rtmin+3", "SIGRTMAX-1", "-1", "65"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sig, err := signal.Parse(text)
		if err == nil && (sig < 0 || sig > 64) {
			t.Errorf("%q: got %d", text, sig)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v", text, err)
		}
	})
}
