package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/attachsocket"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/backlog"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/console"
)

// Stream identifies an output stream.
type Stream int

// The streams. With a terminal all output is Stdout.
const (
	Stdout Stream = console.Stdout
	Stderr Stream = console.Stderr
)

// Frame is a piece of output.
type Frame struct {
	Stream Stream
	Data   []byte // valid until the next Read
}

// Attachment is a client of a container's input and output. Its methods may be called concurrently, but
// only one Read at a time.
//
// The container waits for the client that started it, as for a pipe. It does not wait for other clients:
// those that are too far behind are disconnected.
type Attachment struct {
	client *console.Client
	ctl    string // named pipe for the terminal size
	stdin  bool
}

const (
	maxDimension  = 1000 // conmon's limit for terminal height and width
	resizeMessage = 1
)

// Attach connects to a container's input and output. An attachment made before Start misses no
// output.
func (d *Driver) Attach(ctx context.Context, uid string) (*Attachment, error) {
	c, err := d.running(uid)
	if err != nil {
		return nil, err
	}

	if a := c.takeEarly(); a != nil {
		return a, nil
	}

	client, err := c.console.Join(ctx)
	if err != nil {
		return nil, fault.New(fault.Busy, subject(uid), "cannot connect to its output", fault.WithCause(err))
	}
	return d.attachment(c, client), nil
}

func (d *Driver) attachment(c *container, client *console.Client) *Attachment {
	return &Attachment{client: client, ctl: filepath.Join(d.bundle(c.id), "ctl"), stdin: c.record.OpenStdin}
}

// dial connects to a container's monitor. Before the start of the container it waits until the monitor has
// accepted the connection.
func (d *Driver) dial(ctx context.Context, c *container) (*net.UnixConn, error) {
	before := attachsocket.OpenFiles(c.record.Monitor)
	conn, err := attachsocket.Dial(ctx, d.bundle(c.id))
	if err == nil && !c.started.Load() {
		attachsocket.AwaitAccepted(ctx, c.record.Monitor, before)
	}
	return conn, err
}

// Read waits for output. It returns io.EOF when the process has ended and all output was read.
func (a *Attachment) Read() (Frame, error) {
	stream, data, err := a.client.Read()
	if errors.Is(err, backlog.ErrSlow) {
		err = fault.New(fault.Busy, "output", "the client reads too slowly, it was disconnected",
			fault.WithHint("read the rest with logs"))
	}
	return Frame{Stream(stream), data}, err
}

// Write sends input. It blocks while the process does not read.
func (a *Attachment) Write(p []byte) (int, error) {
	if !a.stdin {
		return 0, fault.New(fault.Busy, "container", "stdin is not open", fault.WithHint("run it with -i"))
	}
	return a.client.Write(p)
}

// CloseStdin signals the end of input. It has an effect only on a container launched with StdinOnce
// and without a terminal.
func (a *Attachment) CloseStdin() error { return a.client.CloseStdin() }

// Resize sets the size of a container's terminal.
func (d *Driver) Resize(_ context.Context, uid string, rows, cols uint16) error {
	if _, err := d.running(uid); err != nil {
		return err
	}
	return resize(filepath.Join(d.bundle(uid), "ctl"), rows, cols)
}

// Resize sets the terminal's size.
func (a *Attachment) Resize(rows, cols uint16) error { return resize(a.ctl, rows, cols) }

func resize(ctl string, rows, cols uint16) error {
	f, err := os.OpenFile(ctl, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fault.New(fault.Busy, "container", "has no terminal", fault.WithCause(err))
	}
	defer func() { _ = f.Close() }()
	_, err = fmt.Fprintf(f, "%d %d %d\n", resizeMessage, min(rows, maxDimension), min(cols, maxDimension))
	return err
}

// Close disconnects. The container keeps running.
func (a *Attachment) Close() error {
	a.client.Close()
	return nil
}
