package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/attachsocket"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/backlog"
)

// Stream identifies an output stream.
type Stream int

// The streams. With a terminal all output is Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Frame is a piece of output.
type Frame struct {
	Stream Stream
	Data   []byte // valid until the next Read
}

// Attachment is a connection to a container's input and output. Its methods may be called
// concurrently, but only one Read at a time.
//
// The container waits for the client that started it, as for a pipe. It does not wait for other clients:
// those that are too far behind are disconnected.
type Attachment struct {
	conn  *net.UnixConn
	ctl   string // named pipe for the terminal size
	stdin bool
	c     *container
	buf   [packetSize]byte

	backlog *backlog.Client // output that was not read; nil before join
}

// A conmon packet is one byte for the stream, then at most 8 KiB of output. conmon accepts less
// than 32 KiB of input per packet.
const (
	packetSize    = 1 + 32<<10
	inputSize     = 8 << 10
	fromStdout    = 2
	fromStderr    = 3
	maxDimension  = 1000 // conmon's limit for terminal height and width
	resizeMessage = 1
)

// Limits of output that was not read: by the client that started a container, and by all others of one
// container.
const (
	pipeSize    = 1 << 20
	backlogSize = 32 << 20
)

// Attach connects to a container's input and output. An attachment made before Start misses no
// output.
func (d *Driver) Attach(ctx context.Context, uid string) (*Attachment, error) {
	c, err := d.running(uid)
	if err != nil {
		return nil, err
	}

	if a := c.takeEarly(); a != nil {
		go a.fill()
		return a, nil
	}

	if err := c.checkClients(); err != nil {
		return nil, err
	}
	before := attachsocket.OpenFiles(c.record.Monitor)
	a, err := d.connect(ctx, uid, c.record.OpenStdin)
	if err != nil {
		return nil, fault.New(fault.Busy, subject(uid), "cannot connect to its output", fault.WithCause(err))
	}
	if !c.started.Load() {
		attachsocket.AwaitAccepted(ctx, c.record.Monitor, before)
	}

	a.join(c, c.backlogs.Join())
	go a.fill()
	return a, nil
}

// maxClients is the number of clients that one monitor serves. conmon itself stops accepting a few later,
// and further clients would wait in vain.
const maxClients = 200

func (c *container) checkClients() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.attachments) < maxClients {
		return nil
	}
	return fault.New(fault.Exhausted, subject(c.id),
		fmt.Sprintf("%d clients are attached, which is the limit", maxClients),
		fault.WithHint("detach some, or read the output with logs -f"))
}

// connect connects to the monitor's socket.
func (d *Driver) connect(ctx context.Context, uid string, stdin bool) (*Attachment, error) {
	conn, err := attachsocket.Dial(ctx, d.bundle(uid))
	if err != nil {
		return nil, err
	}
	return &Attachment{conn: conn, ctl: filepath.Join(d.bundle(uid), "ctl"), stdin: stdin}, nil
}

// join registers the attachment with its container, which can then close it.
func (a *Attachment) join(c *container, b *backlog.Client) {
	a.c, a.backlog = c, b
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attachments[a] = true
}

// Read waits for output. It returns io.EOF when the process has ended and all output was read.
func (a *Attachment) Read() (Frame, error) {
	stream, data, err := a.backlog.Next()
	if errors.Is(err, backlog.ErrSlow) {
		err = fault.New(fault.Busy, "output", "the client reads too slowly, it was disconnected",
			fault.WithHint("read the rest with logs"))
	}
	return Frame{Stream(stream), data}, err
}

// fill moves output to the backlog until the connection or the client ends.
func (a *Attachment) fill() {
	for {
		f, err := a.receive()
		if err != nil {
			a.backlog.End(err)
			return
		}
		if !a.backlog.Add(int(f.Stream), f.Data) {
			_ = a.conn.Close()
			return
		}
	}
}

// receive waits for a packet.
func (a *Attachment) receive() (Frame, error) {
	for {
		n, err := a.conn.Read(a.buf[:])
		switch {
		case errors.Is(err, syscall.ECONNRESET): // the monitor exited with unread input
			return Frame{}, io.EOF
		case err != nil:
			return Frame{}, err
		case n > 1 && a.buf[0] == fromStdout:
			return Frame{Stdout, a.buf[1:n]}, nil
		case n > 1 && a.buf[0] == fromStderr:
			return Frame{Stderr, a.buf[1:n]}, nil
		}
	}
}

// Write sends input. It blocks while the process does not read.
func (a *Attachment) Write(p []byte) (int, error) {
	if !a.stdin {
		return 0, fault.New(fault.Busy, "container", "stdin is not open", fault.WithHint("run it with -i"))
	}
	for done := 0; done < len(p); {
		n, err := a.conn.Write(p[done:min(len(p), done+inputSize)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// CloseStdin signals the end of input. It has an effect only on a container launched with StdinOnce
// and without a terminal.
func (a *Attachment) CloseStdin() error { return a.conn.CloseWrite() }

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
	if c := a.c; c != nil {
		c.mu.Lock()
		delete(c.attachments, a)
		c.mu.Unlock()
	}
	if a.backlog != nil {
		a.backlog.Leave(net.ErrClosed)
	}
	return a.conn.Close()
}
