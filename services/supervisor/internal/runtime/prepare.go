package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/sink"
)

// Launch describes a container whose monitor is started.
type Launch struct {
	ID        string
	Runtime   string // name or path; empty means the default
	TTY       bool
	OpenStdin bool
	// Attach connects to the output before the process exists, so that the first call of
	// Driver.Attach misses no output of a short-lived process.
	Attach bool
	// StdinOnce ends the process's input when the first client closes its input or disconnects, as
	// with `docker run -i`. It has no effect with a TTY. Otherwise input stays open.
	StdinOnce bool

	Output sink.Sink // where conmon writes the output
}

// Prepared is a monitor that waits for Create.
type Prepared struct {
	d       *Driver
	launch  Launch
	runtime *oci.Program

	cmd       *exec.Cmd
	exited    chan struct{} // closed when conmon has moved to the background or failed
	stderr    bytes.Buffer  // conmon's; readable once exited is closed
	startPipe *os.File      // conmon waits for a byte from it
	report    *os.File      // conmon writes the result of the creation to it
}

// Prepare starts a container's monitor, which waits for Create. It removes the state of earlier
// launches of the container.
func (d *Driver) Prepare(ctx context.Context, l Launch) (*Prepared, error) {
	if !id.Valid(l.ID) {
		return nil, fault.Invalidf("container "+l.ID, "id", "is not an ID of %d hexadecimal digits", id.Len)
	}

	rt, err := d.programs.ByName(l.Runtime)
	if err != nil {
		return nil, err
	}

	if err := d.makeBundle(ctx, l.ID); err != nil {
		return nil, err
	}

	p := &Prepared{d: d, launch: l, runtime: rt, exited: make(chan struct{})}
	if err := p.startMonitor(); err != nil {
		p.removeBundle()
		return nil, fault.New(fault.Internal, subject(l.ID), "cannot start the monitor", fault.WithCause(err))
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepared[l.ID] = p
	return p, nil
}

// claim reports whether the caller now owns the monitor. Only the first call returns true.
func (p *Prepared) claim() bool {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.d.prepared[p.launch.ID] != p {
		return false
	}
	delete(p.d.prepared, p.launch.ID)
	return true
}

func (d *Driver) makeBundle(ctx context.Context, uid string) error {
	d.mu.Lock()
	taken := d.containers[uid] != nil || d.prepared[uid] != nil
	d.mu.Unlock()
	if taken {
		return fault.New(fault.Exists, subject(uid), "already has a process")
	}

	err := os.Mkdir(d.bundle(uid), 0o700)
	if errors.Is(err, os.ErrExist) {
		if err := d.Delete(ctx, uid); err != nil {
			return err
		}
		err = os.Mkdir(d.bundle(uid), 0o700)
	}

	if err != nil {
		return fault.New(fault.Internal, subject(uid), "cannot create the bundle", fault.WithCause(err))
	}

	return os.RemoveAll(d.exitFile(uid))
}

// startMonitor executes conmon with the start pipe and the report pipe as descriptors 3 and 4.
func (p *Prepared) startMonitor() error {
	gateOut, gateIn, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = gateOut.Close() }()
	reportOut, reportIn, err := os.Pipe()
	if err != nil {
		_ = gateIn.Close()
		return err
	}
	defer func() { _ = reportIn.Close() }()

	p.cmd = exec.Command(p.d.conmon, p.arguments()...) // no context: it outlives the call
	p.cmd.Dir = p.d.bundle(p.launch.ID)
	p.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "_OCI_STARTPIPE=3",
		"_OCI_SYNCPIPE=4"}
	p.cmd.ExtraFiles = []*os.File{gateOut, reportIn}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.startInCgroup(); err != nil {
		return errors.Join(err, gateIn.Close(), reportOut.Close())
	}

	p.startPipe, p.report = gateIn, reportOut
	go func() {
		defer close(p.exited)
		p.d.cfg.Cgroup.PrimeMigration(p.d.cfg.ExecRoot, p.cmd.Process.Pid) // the PID cannot be reused before Wait
		_ = p.cmd.Wait()
	}()

	return nil
}

// startInCgroup starts conmon in the agent's cgroup. It opens the cgroup, and creates it if it does
// not exist, on each call: this is cheap, and a stored descriptor would be invalid once another
// program has removed the cgroup.
func (p *Prepared) startInCgroup() error {
	own, err := p.d.cfg.Cgroup.CreateAgentCgroup(p.d.cfg.ExecRoot)
	if err != nil {
		return err
	}
	if own != nil {
		defer func() { _ = own.Close() }()
		p.cmd.SysProcAttr.UseCgroupFD, p.cmd.SysProcAttr.CgroupFD = true, int(own.Fd())
	}
	return p.cmd.Start()
}

// The files in a bundle that conmon and the runtime write.
const (
	pidFile        = "pid"
	monitorPidFile = "monitor.pid"
	runtimeLog     = "runtime.log"
	keptExit       = "exit" // exit code, before conmon writes it to the watched directory
)

func (p *Prepared) arguments() []string {
	l, bundle := p.launch, p.d.bundle(p.launch.ID)
	args := []string{"--api-version", "--cid", l.ID, "--cuuid", l.ID, "--bundle", bundle,
		"--runtime", p.runtime.Executable(),
		"--runtime-arg=--root=" + p.d.ociRoot(),
		"--runtime-arg=--log=" + filepath.Join(bundle, runtimeLog), "--runtime-arg=--log-format=json",
		"--container-pidfile", filepath.Join(bundle, pidFile),
		"--conmon-pidfile", filepath.Join(bundle, monitorPidFile),
		"--exit-dir", p.d.exitsDir(), "--persist-dir", bundle,
		"--no-sync-log", "--full-attach", "--log-level", "error"}
	args = append(args, l.Output.Arguments(l.ID)...)
	if l.TTY {
		args = append(args, "--terminal")
	}
	if l.OpenStdin {
		args = append(args, "--stdin")
	}
	if l.OpenStdin && (l.TTY || !l.StdinOnce) {
		args = append(args, "--leave-stdin-open")
	}

	return args
}

// Abort kills an unused monitor and removes its files. It does nothing after Create.
func (p *Prepared) Abort() {
	if !p.claim() {
		return
	}
	_ = p.cmd.Process.Kill() // it waits at the start pipe and has no children
	<-p.exited
	p.close()
	p.removeBundle()
}

// close closes the pipes.
func (p *Prepared) close() {
	_ = p.startPipe.Close()
	_ = p.report.Close()
}

func (p *Prepared) removeBundle() { _ = os.RemoveAll(p.d.bundle(p.launch.ID)) }

// stderrText returns what conmon wrote before it moved to the background.
func (p *Prepared) stderrText() string {
	<-p.exited
	text, _ := io.ReadAll(&p.stderr)
	return strings.TrimSpace(string(text))
}
