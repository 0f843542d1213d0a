// Package console shares one connection to the monitor of a container among all clients that are attached
// to the container. Package runtime uses it; processes of exec do not have a monitor.
//
// One connection is necessary because of faults of conmon (seen in 2.1.6 to 2.2.1). It reads memory that it
// has freed if it cannot write to a client that it still reads from, and can crash then, which ends the
// container. It keeps the descriptor of a client that left until the container prints something, so many
// clients of a silent container use up its descriptors. Therefore the connection stays open from the first
// client until the container ends. Output that no client wants is discarded.
package console

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/backlog"
)

// Limits of output that was not read, in bytes: by the client that started a container, and by all others
// of one container.
const (
	pipeSize    = 1 << 20
	backlogSize = 32 << 20
)

// A packet from conmon is one byte for the stream, then at most 32 KiB of output.
const (
	packetSize = 1 + 32<<10
	fromStdout = 2
	fromStderr = 3
)

// The streams that Client.Read returns.
const (
	Stdout = 1
	Stderr = 2
)

// Options describe the streams of a container.
type Options struct {
	Dial      func(context.Context) (*net.UnixConn, error) // connects to the monitor
	StdinOnce bool                                         // the input ends with the client that uses it
}

// Console holds the clients of one container. Its methods may be called concurrently.
type Console struct {
	opts    Options
	opening chan struct{} // holds a value while a call opens the connection

	mu   sync.Mutex
	line *line // nil before the first client and after the end
	pool *backlog.Pool
}

// line is a connection to the monitor.
type line struct {
	conn    *net.UnixConn
	writing chan struct{} // holds a value while a client writes
	clients []*Client     // guarded by Console.mu and replaced, not changed; the client that started is last
}

// New returns a Console without a connection.
func New(opts Options) *Console {
	return &Console{opts: opts, opening: make(chan struct{}, 1), pool: backlog.NewPool(backlogSize)}
}

// Start uses a connection that was made before the container started. It returns the client that starts
// the container: the container waits for it, as for a pipe. Start must be called before Join.
func (c *Console) Start(conn *net.UnixConn) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.add(c.open(conn), backlog.NewPipe(pipeSize))
	cl.usesInput.Store(true)
	return cl
}

// Join adds a client, for which the container does not wait. It connects to the monitor for the first one.
func (c *Console) Join(ctx context.Context) (*Client, error) {
	select {
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	if cl := c.joinOpen(); cl != nil {
		return cl, nil
	}
	conn, err := c.opts.Dial(ctx)
	if err != nil {
		return nil, err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(c.open(conn), c.pool.Join()), nil
}

// joinOpen adds a client to the open connection. It returns nil without one.
func (c *Console) joinOpen() *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == nil {
		return nil
	}
	return c.add(c.line, c.pool.Join())
}

// open starts to read a connection. mu must be held.
func (c *Console) open(conn *net.UnixConn) *line {
	c.line = &line{conn: conn, writing: make(chan struct{}, 1)}
	go c.read(c.line)
	return c.line
}

// add adds a client to a connection. mu must be held.
func (c *Console) add(l *line, output *backlog.Client) *Client {
	cl := &Client{console: c, line: l, output: output}
	cl.ctx, cl.cancel = context.WithCancel(context.Background())
	l.clients = append([]*Client{cl}, l.clients...)
	return cl
}

// read distributes output until the connection ends. The client that the container waits for is the last
// one to get a packet, so that the others do not wait for it.
func (c *Console) read(l *line) {
	var buf [packetSize]byte
	for {
		stream, data, err := receive(l.conn, buf[:])
		if err != nil {
			c.end(l, err)
			return
		}
		for _, cl := range c.clientsOf(l) {
			cl.output.Add(stream, data)
		}
	}
}

// receive waits for a packet.
func receive(conn *net.UnixConn, buf []byte) (stream int, data []byte, err error) {
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNRESET): // the monitor exited with unread input
			return 0, nil, io.EOF
		case err != nil:
			return 0, nil, err
		case n > 1 && buf[0] == fromStdout:
			return Stdout, buf[1:n], nil
		case n > 1 && buf[0] == fromStderr:
			return Stderr, buf[1:n], nil
		}
	}
}

func (c *Console) clientsOf(l *line) []*Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.clients
}

// end closes a connection. Its clients get err after the output that they have not read.
func (c *Console) end(l *line, err error) {
	c.mu.Lock()
	if c.line == l {
		c.line = nil
	}
	c.mu.Unlock()

	for _, cl := range c.clientsOf(l) {
		cl.output.End(err)
	}
	_ = l.conn.Close()
}

// Ended makes the other clients wait no more for the one that started the container, which has ended. What
// is left of the output is what the socket holds.
func (c *Console) Ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == nil {
		return
	}
	for _, cl := range c.line.clients {
		cl.output.NoWait()
	}
}

// Leave ends the input of the monitor from this process, before the process exits. conmon then does not read
// from the connection any more when it cannot write to it, which is safe; see the package comment.
func (c *Console) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line != nil {
		_ = c.line.conn.CloseWrite()
	}
}

// Disconnect closes all clients. The container keeps running.
func (c *Console) Disconnect() {
	c.mu.Lock()
	var all []*Client
	if c.line != nil {
		all = c.line.clients
	}
	c.mu.Unlock()

	for _, cl := range all {
		cl.Close()
	}
}
