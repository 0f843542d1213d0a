package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
)

// Create makes the container: its namespaces, cgroup, mounts and its first process, which stands still before the container's program. It
// answers that process's id. When it fails, nothing is left.
func (p *Prepared) Create(ctx context.Context, spec *specs.Spec) (int, error) {
	if !p.claim() {
		return 0, fault.New(fault.Internal, subject(p.launch.ID), "its monitor was used or ended already")
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
	config, err := json.Marshal(p.d.filters.apply(p.runtime, spec))
	if err != nil {
		return nil, p.failed("its specification cannot be written", err)
	}
	if err := os.WriteFile(filepath.Join(p.d.bundle(p.launch.ID), "config.json"), config, 0o600); err != nil {
		return nil, p.failed("its specification cannot be written", err)
	}
	if _, err := p.startPipe.Write([]byte{1}); err != nil {
		return nil, p.failed("its monitor is gone", errors.Join(err, errors.New(p.stderrText())))
	}
	connected := p.connect()
	pid, err := p.created(ctx, spec)
	early := connected()
	if err == nil {
		p.d.filters.store(p.runtime, spec, p.d.runtimeState(p.launch.ID))
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

// connect begins to attach as soon as the monitor listens, which is before it runs the runtime: a client that connects later may miss what
// a short-lived process says. The answer gives the connection; nil if nobody asked for one, or the monitor never listened.
func (p *Prepared) connect() func() *Attachment {
	if !p.launch.Attach {
		return func() *Attachment { return nil }
	}
	stop, got := make(chan struct{}), make(chan *Attachment, 1)
	go func() {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for last := false; ; {
			a, err := p.d.connect(p.launch.ID, p.launch.OpenStdin)
			if err == nil || last {
				got <- a
				return
			}
			select {
			case <-pause.C:
			case <-stop:
				last = true
			}
		}
	}()
	return func() *Attachment {
		close(stop)
		return <-got
	}
}

// created waits for the monitor's report: a line of JSON with the first process's id, or without one if the runtime failed.
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
	why := runtimeMessage(readRuntimeLog(filepath.Join(p.d.bundle(p.launch.ID), runtimeLog)), report.Message, p.stderrText())
	return 0, startFault(subject(p.launch.ID), spec.Process, why)
}

// hold takes hold of the container's processes and notes them for after a restart.
func (p *Prepared) hold(pid int, early *Attachment) (*container, error) {
	<-p.exited // only then is the monitor's id written
	bundle := p.d.bundle(p.launch.ID)
	r := record{Runtime: p.runtime.path, PID: pid, TTY: p.launch.TTY, OpenStdin: p.launch.OpenStdin}
	var errs [4]error
	r.Monitor, errs[0] = readPid(filepath.Join(bundle, monitorPidFile))
	r.Started, errs[1] = startTime(r.PID)
	r.MonitorStarted, errs[2] = startTime(r.Monitor)
	errs[3] = r.write(bundle)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, p.failed("its process is gone", err)
	}
	c := newContainer(p.launch.ID, r, p.runtime)
	var err error
	if c.init, err = openProcessOf(r.PID, r.Started); err == nil {
		c.monitor, err = openProcessOf(r.Monitor, r.MonitorStarted)
	}
	if err != nil {
		c.release()
		return nil, p.failed("its process is gone", err)
	}
	if early != nil {
		c.early = early
		early.join(c)
	}
	return c, nil
}

// undo removes what a failed creation left, whether or not the caller still waits. By its closed gate the monitor has gone into the
// background by now, or is about to: killed before that, it might leave a child that nobody knows the id of.
func (p *Prepared) undo(ctx context.Context) {
	select {
	case <-p.exited:
	case <-time.After(killTime):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	if err := p.d.Delete(context.WithoutCancel(ctx), p.launch.ID); err != nil {
		p.d.cfg.Log.Warn("a failed creation left something", "container", p.launch.ID, "error", err)
	}
}
