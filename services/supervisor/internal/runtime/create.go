package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/attachsocket"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/procstat"
)

// Create creates the container: namespaces, cgroup, mounts and init process. It returns the process
// ID. The init process waits for Start before it executes the container's program. Create removes
// everything it created on failure.
func (p *Prepared) Create(ctx context.Context, spec *specs.Spec) (int, error) {
	if !p.claim() {
		return 0, fault.New(fault.Internal, subject(p.launch.ID), "the monitor is already in use or has exited")
	}

	c, err := p.create(ctx, spec)
	if err != nil {
		p.undo(ctx)
		return 0, err
	}

	p.d.mu.Lock()
	p.d.containers[c.id] = c
	p.d.mu.Unlock()
	go p.d.watch(c)
	return c.record.PID, nil
}

func (p *Prepared) create(ctx context.Context, spec *specs.Spec) (*container, error) {
	defer p.close()
	config, err := json.Marshal(p.d.filters.Apply(p.runtime, spec))
	if err != nil {
		return nil, p.failed("cannot write its OCI specification", err)
	}

	if err := os.WriteFile(filepath.Join(p.d.bundle(p.launch.ID), "config.json"), config, 0o600); err != nil {
		return nil, p.failed("cannot write its OCI specification", err)
	}
	if err := p.d.recordCgroup(p.launch.ID, spec); err != nil {
		return nil, p.failed("cannot write the name of its cgroup", err)
	}

	if _, err := p.startPipe.Write([]byte{1}); err != nil {
		return nil, p.failed("the monitor has exited", errors.Join(err, errors.New(p.stderrText())))
	}

	connected := p.connect(ctx)
	pid, err := p.created(ctx, spec)
	early := connected()
	if err == nil {
		p.d.filters.Store(p.runtime, spec, p.d.runtimeState(p.launch.ID))
		var c *container
		if c, err = p.hold(pid, early); err == nil {
			return c, nil
		}
	}

	if early != nil {
		_ = early.Close()
	}

	return nil, err
}

func (p *Prepared) failed(message string, cause error) error {
	return fault.New(fault.Internal, subject(p.launch.ID), message, fault.WithCause(cause))
}

// connect connects to the monitor as soon as it listens, before it executes the runtime. A client that
// connects later can miss the output of a short-lived process. The returned function returns the
// connection: nil if the launch does not ask for one or the monitor never listened.
func (p *Prepared) connect(ctx context.Context) func() *net.UnixConn {
	if !p.launch.Attach {
		return func() *net.UnixConn { return nil }
	}

	stop, got := make(chan struct{}), make(chan *net.UnixConn, 1)
	go func() {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for last := false; ; {
			conn, err := attachsocket.Dial(ctx, p.d.bundle(p.launch.ID))
			if err == nil || last {
				got <- conn
				return
			}
			select {
			case <-pause.C:
			case <-stop:
				last = true
			}
		}
	}()

	return func() *net.UnixConn {
		close(stop)
		return <-got
	}
}

// created waits for the monitor's report on the creation. That is a line of JSON with the init
// process's ID, or without it if the runtime failed.
func (p *Prepared) created(ctx context.Context, spec *specs.Spec) (int, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.report.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(p.report).ReadBytes('\n')
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}

	var report struct {
		PID     int    `json:"data"`
		Message string `json:"message"`
	}
	if err == nil {
		err = json.Unmarshal(line, &report)
	}
	if err == nil && report.PID > 0 {
		return report.PID, nil
	}

	why := oci.Message(oci.ReadLog(filepath.Join(p.d.bundle(p.launch.ID), runtimeLog)), report.Message,
		p.stderrText())
	return 0, oci.StartFault(subject(p.launch.ID), spec.Process, why)
}

// hold opens the container's processes and stores their record for Adopt.
func (p *Prepared) hold(pid int, early *net.UnixConn) (*container, error) {
	<-p.exited // the monitor's PID file is complete now
	bundle := p.d.bundle(p.launch.ID)
	r := record{Runtime: p.runtime.Path, PID: pid, TTY: p.launch.TTY, OpenStdin: p.launch.OpenStdin,
		StdinOnce: p.launch.StdinOnce}
	var errs [4]error
	r.Monitor, errs[0] = procstat.ReadPID(filepath.Join(bundle, monitorPidFile))
	r.Started, errs[1] = procstat.StartTime(r.PID)
	r.MonitorStarted, errs[2] = procstat.StartTime(r.Monitor)
	errs[3] = r.write(bundle)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, p.failed("its process has exited", err)
	}

	c := p.d.newContainer(p.launch.ID, r, p.runtime)
	var err error
	if c.init, err = openProcessOf(r.PID, r.Started); err == nil {
		c.monitor, err = openProcessOf(r.Monitor, r.MonitorStarted)
	}

	if err != nil {
		c.release()
		return nil, p.failed("its process has exited", err)
	}

	if early != nil {
		c.early = p.d.attachment(c, c.console.Start(early))
	}

	return c, nil
}

// undo removes what a failed creation left behind, even if ctx is canceled. The start pipe is
// closed, so the monitor has moved to the background or is about to. Killing it earlier could leave
// a child process with an unknown PID.
func (p *Prepared) undo(ctx context.Context) {
	select {
	case <-p.exited:
	case <-time.After(killTime):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	if err := p.d.Delete(context.WithoutCancel(ctx), p.launch.ID); err != nil {
		p.d.cfg.Log.Warn("cannot clean up after a failed creation", "container", p.launch.ID, "error", err)
	}
}
