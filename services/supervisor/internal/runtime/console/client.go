package console

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/backlog"
)

// inputSize limits a packet of input. conmon accepts less than 32 KiB.
const inputSize = 8 << 10

// Client is one of the clients of a container. Its methods may be called concurrently, but only one Read at
// a time.
type Client struct {
	console   *Console
	line      *line
	output    *backlog.Client
	usesInput atomic.Bool
	ctx       context.Context // done after Close
	cancel    context.CancelFunc
}

// Read waits for output and returns it with its stream. It returns io.EOF when the container has ended and
// all output was read, backlog.ErrSlow to a client that was too far behind, and net.ErrClosed after Close.
func (cl *Client) Read() (stream int, data []byte, err error) { return cl.output.Next() }

// Write sends input. It blocks while the container does not read. Close interrupts it.
func (cl *Client) Write(p []byte) (int, error) {
	cl.usesInput.Store(true)
	for done := 0; done < len(p); {
		n, err := cl.writePacket(p[done:min(len(p), done+inputSize)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// writePacket waits for the writes of other clients, then sends a packet.
func (cl *Client) writePacket(p []byte) (int, error) {
	select {
	case cl.line.writing <- struct{}{}:
		defer func() { <-cl.line.writing }()
	case <-cl.ctx.Done():
		return 0, net.ErrClosed
	}

	interrupted := make(chan struct{})
	stop := context.AfterFunc(cl.ctx, func() {
		defer close(interrupted)
		_ = cl.line.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	n, err := cl.line.conn.Write(p)
	if !stop() { // the client left: the next one must not be interrupted
		<-interrupted
		_ = cl.line.conn.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// CloseStdin ends the input of a container with StdinOnce. Other containers keep it.
func (cl *Client) CloseStdin() error {
	if !cl.console.opts.StdinOnce {
		return nil
	}
	return cl.line.conn.CloseWrite()
}

// Close disconnects the client. The container keeps running. Its input ends if it has StdinOnce and the
// client started it or wrote to it.
func (cl *Client) Close() {
	c := cl.console
	c.mu.Lock()
	i := slices.Index(cl.line.clients, cl)
	if i >= 0 {
		cl.line.clients = slices.Concat(cl.line.clients[:i], cl.line.clients[i+1:])
	}
	c.mu.Unlock()

	cl.cancel()
	cl.output.Leave(net.ErrClosed)
	if i >= 0 && cl.usesInput.Load() {
		_ = cl.CloseStdin()
	}
}
