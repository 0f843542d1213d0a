//go:build crashtest

package crashpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// directoryVar is the environment variable with the directory of orders.
const directoryVar = "FL_CRASHPOINTS"

// shorter is the factor by which time limits of calls are shortened.
const shorter = 10

// process holds the state of the points of this process.
type process struct {
	mu     sync.Mutex
	nonce  string
	passed int
}

var points process

// Before is called before an operation. The operation must fail with the returned error.
func Before(kind Kind, name string) error { return points.pass("before", kind, name) }

// After is called after an operation, before its result is used.
func After(kind Kind, name string) error { return points.pass("after", kind, name) }

// Shorten shortens the time limit of a call, so that a stall exceeds it.
func Shorten(d time.Duration) time.Duration { return d / shorter }

func (p *process) pass(when string, kind Kind, name string) error {
	dir := os.Getenv(directoryVar)
	if dir == "" {
		return nil
	}
	if name == "" {
		name = caller()
	}
	point := fmt.Sprintf("%s %s %s", when, kind, strings.ReplaceAll(name, " ", "_"))
	self := self()
	if _, err := os.Stat(filepath.Join(dir, "trace")); err == nil {
		write(filepath.Join(dir, "trace."+self), point)
	}
	action := p.order(filepath.Join(dir, "armed."+self))
	if action == "" {
		return nil
	}
	write(filepath.Join(dir, "hit."+self), action+" "+point)
	return act(action)
}

// order returns the action at this point. It is empty if there is none.
func (p *process) order(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	var nonce, action string
	var ordinal int
	if n, _ := fmt.Sscan(string(data), &nonce, &action, &ordinal); n != 3 {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if nonce != p.nonce {
		p.nonce, p.passed = nonce, 0
	}
	if p.passed++; p.passed != ordinal {
		return ""
	}
	_ = os.Remove(file) // only once, also for the next process
	return action
}

// caller returns the name of the function that makes a request, ignoring retry wrappers.
func caller() string {
	var at [16]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(3, at[:])])
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		if !strings.Contains(name, "retr") && !strings.Contains(name, "crashpoint") &&
			!strings.HasSuffix(name, ".send") || !more {
			return name
		}
	}
}

func act(action string) error {
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stall":
		time.Sleep(Stall)
	case "enospc":
		return syscall.ENOSPC
	case "eio":
		return syscall.EIO
	}
	return nil
}

// self returns the name of this process in file names.
func self() string {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		return os.Args[1]
	}
	return "one"
}

func write(file, line string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}
