package runtime

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/oci"
)

// Start executes the program of a created container. OnExit reports its end.
func (d *Driver) Start(ctx context.Context, uid string) error {
	c, err := d.running(uid)
	if err != nil {
		return err
	}
	if c.started.Swap(true) {
		return nil
	}

	if err := d.start(ctx, c); err != nil {
		c.started.Store(false)
		return fault.New(fault.Internal, subject(uid), "cannot start the process", fault.WithCause(err))
	}

	return nil
}

// start opens the pipe on which the init process of crun or runc waits. This saves an execution of
// the runtime, which is only called if it fails.
func (d *Driver) start(ctx context.Context, c *container) error {
	fifo := d.fifo(c.id)
	var err error
	switch c.runtime.Flavor {
	case oci.Crun:
		err = startCrun(fifo)
	case oci.Runc:
		err = startRunc(ctx, fifo, c.init)
	default:
		err = errors.ErrUnsupported
	}

	if err == nil {
		return nil
	}

	out, rerr := exec.CommandContext(ctx, c.runtime.Path, "--root", d.ociRoot(), "start", c.id).CombinedOutput()
	if rerr != nil {
		return errors.Join(err, rerr, errors.New(string(out)))
	}

	return nil
}

// fifo returns the path of a pipe that exists from Create to Start.
func (d *Driver) fifo(uid string) string { return filepath.Join(d.runtimeState(uid), "exec.fifo") }

// startCrun sends the byte that the init process waits for and removes the pipe. To crun, a
// container without the pipe is started.
func startCrun(fifo string) error {
	f, err := os.OpenFile(fifo, unix.O_WRONLY|unix.O_NONBLOCK, 0) // ENXIO without a reader
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := os.Remove(fifo); err != nil {
		return err
	}
	_, err = f.Write([]byte{0})
	return err
}

// startRunc reads the byte that the init process sends.
func startRunc(ctx context.Context, fifo string, init *process) error {
	f, err := os.OpenFile(fifo, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for {
		n, err := f.Read(make([]byte, 1))
		switch {
		case n > 0:
			return os.Remove(fifo)
		case err != nil && !errors.Is(err, io.EOF): // EOF: the process has not opened the pipe yet
			return err
		case !init.alive():
			return os.ErrProcessDone
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
