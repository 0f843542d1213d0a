// Package storeproc starts and stops the process of this manager's store, fairlead-store. The
// process has a session of its own and outlives the agent. It is used by fleetagent.
package storeproc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
)

// The files in the store's directory.
const (
	lockFile = "fairlead.lock" // locked by the process, with its process ID
	logFile  = "store.log"
)

// How often a stopping process is looked at, and for how long.
const (
	pollInterval = 20 * time.Millisecond
	stopTimeout  = 5 * time.Second
)

// Process is the process of the store.
type Process struct {
	Program string // path of fairlead-store
	Dir     string // of its database
	Certs   string // directory of the membership
}

// Member says how the process takes part in the store.
type Member struct {
	Name, ClientURL, PeerURL string
	Cluster                  string // NAME=PEER-URL,...
	Existing                 bool
	Recover                  bool // continue alone
}

// Running reports whether a process uses the directory.
func (p Process) Running() bool {
	f, err := os.Open(filepath.Join(p.Dir, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Start starts the process if it is not running, and waits until it uses the directory, so that it is
// not started twice. It does not wait until the store serves.
func (p Process) Start(m Member) error {
	if p.Running() {
		return nil
	}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return p.failed(err)
	}
	log, err := os.OpenFile(filepath.Join(p.Dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return p.failed(err)
	}
	defer log.Close()

	cert := func(name string) string { return filepath.Join(p.Certs, name) }
	args := []string{"--name", m.Name, "--dir", p.Dir, "--client-url", m.ClientURL, "--peer-url", m.PeerURL,
		"--cluster", m.Cluster, "--ca", cert(membership.CAFile), "--cert", cert(membership.CertFile),
		"--key", cert(membership.KeyFile), "--peer-ca", cert(membership.PeerCAFile),
		"--peer-cert", cert(membership.PeerCert), "--peer-key", cert(membership.PeerKey)}
	if m.Existing {
		args = append(args, "--existing")
	}
	if m.Recover {
		args = append(args, "--recover")
	}
	cmd := exec.Command(p.Program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return p.failed(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	for deadline := time.Now().Add(stopTimeout); !p.Running() && time.Now().Before(deadline); {
		select {
		case <-exited: // its log says why
			return nil
		case <-time.After(pollInterval):
		}
	}
	return nil
}

// Log returns the last lines of the process's log, for errors.
func (p Process) Log() string {
	data, err := os.ReadFile(filepath.Join(p.Dir, logFile))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// Stop stops the process and waits until it has exited. A process that does not exit in time, because it
// waits for other members, is killed: its data survives that.
func (p Process) Stop(ctx context.Context) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.Running() {
			return nil
		}
		pid, err := p.pid()
		if err != nil {
			return p.failed(err)
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return p.failed(err)
		}
		if p.exited(ctx) {
			return nil
		}
	}
	return fault.New(fault.Internal, "store in "+p.Dir, "does not stop")
}

// exited waits until the process has exited, at most for stopTimeout.
func (p Process) exited(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for p.Running() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollInterval):
		}
	}
	return true
}

// Remove stops the process and removes its database.
func (p Process) Remove(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return p.failed(err)
	}
	return nil
}

// Exists reports whether there is a database.
func (p Process) Exists() bool {
	_, err := os.Stat(filepath.Join(p.Dir, "etcd"))
	return !errors.Is(err, fs.ErrNotExist)
}

func (p Process) pid() (int, error) {
	data, err := os.ReadFile(filepath.Join(p.Dir, lockFile))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

func (p Process) failed(err error) error {
	return fault.New(fault.Unavailable, "store in "+p.Dir, "cannot be run", fault.WithCause(err))
}
