// Package backlog holds output that clients have not read yet, so that a client that reads slowly or
// not at all blocks neither the container nor another client. Package runtime uses it.
package backlog

import (
	"errors"
	"math"
	"sync"
)

// ErrSlow is the error of the client that was furthest behind when a pool became full.
var ErrSlow = errors.New("the client reads too slowly")

// pieceSize limits the joined pieces that Next returns.
const pieceSize = 64 << 10

// Pool holds output for clients of one container.
type Pool struct {
	mu      sync.Mutex
	limit   int // bytes of all clients
	size    int
	clients map[*Client]bool
	waits   bool
}

// NewPool returns a pool that holds up to limit bytes. A client that is too far behind is cut off.
func NewPool(limit int) *Pool { return &Pool{limit: limit, clients: map[*Client]bool{}} }

// NewPipe returns a client whose Add waits, as a write to a pipe does, while limit bytes are not read.
func NewPipe(limit int) *Client {
	p := NewPool(limit)
	p.waits = true
	return p.Join()
}

// Client is the output for one client. One goroutine calls Add and End, another one Next.
type Client struct {
	pool    *Pool
	changed *sync.Cond
	pieces  []piece
	size    int
	err     error // after the pieces
	left    bool
}

type piece struct {
	stream int
	data   []byte
}

// Join adds a client.
func (p *Pool) Join() *Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &Client{pool: p, changed: sync.NewCond(&p.mu)}
	p.clients[c] = true
	return c
}

// NoWait makes Add wait no more.
func (c *Client) NoWait() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.pool.waits {
		c.pool.waits, c.pool.limit = false, math.MaxInt
		c.changed.Broadcast()
	}
}

// Add adds a copy of output. It reports whether the client still reads.
func (c *Client) Add(stream int, data []byte) bool {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.waits && p.size >= p.limit && !c.left {
		c.changed.Wait()
	}
	if c.left || c.err != nil {
		return false
	}
	last := len(c.pieces) - 1
	if last >= 0 && c.pieces[last].stream == stream && len(c.pieces[last].data)+len(data) <= pieceSize {
		c.pieces[last].data = append(c.pieces[last].data, data...)
	} else {
		c.pieces = append(c.pieces, piece{stream, append(make([]byte, 0, len(data)), data...)})
	}
	c.size += len(data)
	p.size += len(data)
	c.changed.Broadcast()
	for p.size > p.limit && !p.waits {
		p.slowest().end(ErrSlow)
	}
	return c.err == nil
}

// slowest returns the client that is furthest behind. mu must be held.
func (p *Pool) slowest() *Client {
	var found *Client
	for c := range p.clients {
		if found == nil || c.size > found.size {
			found = c
		}
	}
	return found
}

// end drops the output and sets the error. mu must be held.
func (c *Client) end(err error) {
	c.pool.size -= c.size
	c.pieces, c.size, c.err = nil, 0, err
	c.changed.Broadcast()
}

// End sets the error that follows the output.
func (c *Client) End(err error) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.err == nil {
		c.err = err
		c.changed.Broadcast()
	}
}

// Next waits for output of one stream and returns all that is there, up to pieceSize. After the output it
// returns the error of End, or ErrSlow.
func (c *Client) Next() (stream int, data []byte, err error) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for len(c.pieces) == 0 && c.err == nil {
		c.changed.Wait()
	}
	if len(c.pieces) == 0 {
		return 0, nil, c.err
	}
	next := c.pieces[0]
	c.pieces[0] = piece{}
	c.pieces = c.pieces[1:]
	c.size -= len(next.data)
	c.pool.size -= len(next.data)
	c.changed.Broadcast()
	return next.stream, next.data, nil
}

// Leave removes the client and its output. It may be called several times.
func (c *Client) Leave(err error) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if !c.left {
		c.left = true
		delete(c.pool.clients, c)
		c.end(err)
	}
}
