// Command vm runs the project's tests on Debian's stock kernel, in a qemu virtual machine with
// cgroup v2 only. The machine reads the files of this one and writes to memory.
//
// The script run starts it. It exits with the exit code of the tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes of the command itself.
const (
	exitTrouble = 125 // the machine cannot start, or crashed
	exitLimit   = 124 // the time limit ended it
)

// options holds the flags.
type options struct {
	root     string
	run      string
	shell    string
	verbose  bool
	json     bool
	accel    string
	cpus     int
	memory   int
	limit    time.Duration
	packages []string
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "project directory")
	flag.StringVar(&o.run, "run", "", "run only matching tests")
	flag.StringVar(&o.shell, "sh", "", "run a shell command")
	flag.BoolVar(&o.verbose, "v", false, "verbose output")
	flag.BoolVar(&o.json, "json", false, "print test2json output")
	flag.StringVar(&o.accel, "accel", "", "kvm or tcg (default: detected)")
	flag.IntVar(&o.cpus, "cpus", 2, "number of CPUs")
	flag.IntVar(&o.memory, "memory", 4096, "memory in MiB")
	flag.DurationVar(&o.limit, "limit", 15*time.Minute, "time limit")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: deploy/vm/run [flags] PACKAGE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.packages = flag.Args()
	if (o.shell == "") == (len(o.packages) == 0) {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code, err := o.do(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
	}

	os.Exit(code)
}

// do runs one machine. A directory has one machine at a time, because they share built files.
func (o options) do(ctx context.Context) (int, error) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return exitTrouble, err
	}

	w := builder{root: root, cache: filepath.Join(root, ".cache", "vm")}
	unlock, err := w.lock(ctx)
	if err != nil {
		return exitTrouble, err
	}
	defer unlock()
	j, err := w.job(ctx, o)
	if err != nil {
		return exitTrouble, err
	}

	first, err := w.initramfs(j)
	if err != nil {
		return exitTrouble, err
	}
	defer func() { _ = first.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, errLimit)
	defer cancel()

	m := machine{kernel: filepath.Join(w.kernel(), "vmlinuz"), first: first, accel: o.accelerator(), cpus: o.cpus,
		memory: o.memory}
	code, err := m.run(ctx, os.Stdout)
	if errors.Is(context.Cause(ctx), errLimit) {
		return exitLimit, fmt.Errorf("stopped after %s; -limit allows more", o.limit)
	}

	return code, err
}

var errLimit = errors.New("the time limit")

// lock waits until no other run uses the directory. The lock is released when the process exits.
func (w builder) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(w.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}

	reported := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		if !reported {
			fmt.Fprintln(os.Stderr, "vm: waiting for another run to end")
			reported = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
