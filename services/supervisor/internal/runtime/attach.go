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
)

// Stream says where output was written to.
type Stream int

// The streams. With a terminal all is Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Frame is some output.
type Frame struct {
	Stream Stream
	Data   []byte // valid until the next Read
}

// Attachment is a connection to a container's input and output. Its methods may be called side by side; Read by one at a time.
type Attachment struct {
	conn  *net.UnixConn
	ctl   string // the named pipe for the terminal's size
	stdin bool
	c     *container
	buf   [packetSize]byte
}

// conmon sends packets of a byte that says which stream it is, and at most 8 KiB of output; it takes less than 32 KiB of input at once.
const (
	packetSize    = 1 + 32<<10
	inputSize     = 8 << 10
	fromStdout    = 2
	fromStderr    = 3
	maxDimension  = 1000 // what conmon takes for a terminal's height and width
	resizeMessage = 1
)

// Attach connects to a container's input and output. Before Start it misses nothing.
func (d *Driver) Attach(_ context.Context, uid string) (*Attachment, error) {
	c, err := d.running(uid)
	if err != nil {
		return nil, err
	}
	if a := c.takeEarly(); a != nil {
		return a, nil
	}
	a, err := d.connect(uid, c.record.OpenStdin)
	if err != nil {
		return nil, fault.New(fault.Busy, subject(uid), "its output cannot be reached", fault.WithCause(err))
	}
	a.join(c)
	return a, nil
}

// connect goes to the monitor's socket by its folder's descriptor, as the path of a socket must not be longer than 107 bytes.
func (d *Driver) connect(uid string, stdin bool) (*Attachment, error) {
	dir, err := unix.Open(d.bundle(uid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	addr := &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/attach", dir), Net: "unixpacket"}
	conn, err := net.DialUnix("unixpacket", nil, addr)
	if err != nil {
		return nil, err
	}
	return &Attachment{conn: conn, ctl: filepath.Join(d.bundle(uid), "ctl"), stdin: stdin}, nil
}

// join notes the connection with its container, which closes it when it hangs up.
func (a *Attachment) join(c *container) {
	a.c = c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attachments[a] = true
}

// Read waits for output. io.EOF tells that all of it was read: the container's process has ended.
func (a *Attachment) Read() (Frame, error) {
	for {
		n, err := a.conn.Read(a.buf[:])
		switch {
		case errors.Is(err, syscall.ECONNRESET): // the monitor ended with input unread
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

// Write sends input. It waits while the process does not read.
func (a *Attachment) Write(p []byte) (int, error) {
	if !a.stdin {
		return 0, fault.New(fault.Busy, "container", "its input is not open", fault.WithHint("run it with -i"))
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

// CloseStdin tells that no more input comes. Only a container that was launched with Attach and without a terminal minds.
func (a *Attachment) CloseStdin() error { return a.conn.CloseWrite() }

// Resize sets the terminal's size.
func (a *Attachment) Resize(rows, cols uint16) error {
	f, err := os.OpenFile(a.ctl, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fault.New(fault.Busy, "container", "its terminal is gone", fault.WithCause(err))
	}
	defer func() { _ = f.Close() }()
	_, err = fmt.Fprintf(f, "%d %d %d\n", resizeMessage, min(rows, maxDimension), min(cols, maxDimension))
	return err
}

// Close leaves. The container runs on.
func (a *Attachment) Close() error {
	if c := a.c; c != nil {
		c.mu.Lock()
		delete(c.attachments, a)
		c.mu.Unlock()
	}
	return a.conn.Close()
}
