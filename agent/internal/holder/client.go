package holder

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// requestTimeout is the time limit of one request.
const requestTimeout = 5 * time.Second

// The delay before a client restarts a holder that exited unexpectedly. It doubles with each
// restart.
const (
	respawnDelay    = 50 * time.Millisecond
	respawnDelayMax = time.Minute
)

// Client stores files in a holder, and starts one if there is none. Changes are applied in order
// and in the background. If the holder is killed, the next one gets its files again. It is safe for
// concurrent use.
type Client struct {
	path    string
	program []string // started as the holder; empty: none
	log     *slog.Logger

	work    *queue
	stopped chan struct{}

	mu   sync.Mutex
	held map[string]int // duplicates of the held files

	conn    *net.UnixConn // conn and what follows are only used by the queue
	unwatch chan struct{} // ends the watch of the last connection; nil before the first one
	delay   time.Duration // before the next holder is started
}

// New returns a client with a socket path. It does not start a process. Without a program it only reads what a holder
// has.
func New(path string, program []string, log *slog.Logger) *Client {
	return &Client{path: path, program: program, log: log, work: newQueue(), stopped: make(chan struct{}),
		held: map[string]int{}, delay: respawnDelay}
}

// Available reports whether files can be held.
func (c *Client) Available() bool { return len(c.program) > 0 }

// wait queues f and waits for it.
func (c *Client) wait(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	if !c.work.add(func() { done <- f() }) {
		return fault.New(fault.Unavailable, c.subject(), "is closed")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) subject() string { return "holder at " + c.path }

// Inherited returns the files that the holder has from the previous process, by name. The caller
// closes them.
func (c *Client) Inherited() map[string][]*os.File {
	left := map[string][]*os.File{}
	err := c.wait(context.Background(), func() error {
		if c.connect() != nil {
			return nil // there is no holder
		}
		return c.takeAll(left)
	})
	if err != nil {
		c.log.Warn("cannot fetch held files", "holder", c.path, "error", err)
	}
	return left
}

func (c *Client) takeAll(left map[string][]*os.File) error {
	m, fds, err := c.request(message{Op: opTake}, nil)
	for {
		if err != nil {
			return err
		}
		for i, fd := range fds {
			name := m.Names[i]
			if own, derr := duplicate(fd); derr == nil {
				c.keep(name, own)
			}
			left[name] = append(left[name], os.NewFile(uintptr(fd), name))
		}
		if !m.More {
			return nil
		}
		m, fds, err = receive(c.conn)
	}
}

func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

func (c *Client) keep(name string, fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.held[name]; ok {
		_ = unix.Close(before)
	}
	c.held[name] = fd
}

// Put stores a file under a name. The caller can close the file.
func (c *Client) Put(_ context.Context, name string, file *os.File) error {
	if !c.Available() {
		return nil
	}

	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}

	own, derr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { own, derr = duplicate(int(fd)) })
	if err = errors.Join(err, derr); err != nil {
		return err
	}

	c.keep(name, own)
	c.work.add(func() {
		if err := c.put(name); err != nil {
			c.log.Warn("cannot store file in holder", "holder", c.path, "name", name, "error", err)
		}
	})
	return nil
}

// put sends the file that is currently stored under a name.
func (c *Client) put(name string) error {
	started, err := c.start()
	if err != nil || started {
		return err // a new holder got all files
	}
	switch err := c.send(name); {
	case err == nil:
		return nil
	case errors.Is(err, errEnded): // it had no files
		c.cleanUp()
	default:
		time.Sleep(respawnDelay) // the holder is exiting, or was killed
	}
	if started, err = c.start(); err != nil || started {
		return err
	}
	return c.send(name)
}

func (c *Client) send(name string) error {
	c.mu.Lock()
	fd, ok := c.held[name]
	own := -1
	var err error
	if ok {
		own, err = duplicate(fd)
	}

	c.mu.Unlock()
	if !ok || err != nil {
		return err
	}
	defer unix.Close(own)
	_, _, err = c.request(message{Op: opPut, Names: []string{name}}, []int{own})
	return err
}

// Drop removes a file from the holder. It does nothing if it does not exist.
func (c *Client) Drop(_ context.Context, name string) error {
	c.mu.Lock()
	fd, ok := c.held[name]
	delete(c.held, name)
	c.mu.Unlock()
	if !ok {
		return nil
	}

	_ = unix.Close(fd)
	c.work.add(func() {
		if c.connect() != nil {
			return
		}
		response, _, err := c.request(message{Op: opDrop, Names: []string{name}}, nil)
		if err != nil && !errors.Is(err, errEnded) {
			c.log.Warn("cannot drop file from holder", "holder", c.path, "name", name, "error", err)
		}
		if response.Ended { // a holder of a former version exits with the last file
			c.cleanUp()
		}
	})
	return nil
}

// Clear stops the holder and removes its socket.
func (c *Client) Clear(ctx context.Context) error {
	return c.wait(ctx, func() error {
		c.mu.Lock()
		for name, fd := range c.held {
			_ = unix.Close(fd)
			delete(c.held, name)
		}
		c.mu.Unlock()
		c.end(opEnd)
		c.cleanUp()
		return nil
	})
}

// cleanUp closes the connection to a stopped holder and removes its socket.
func (c *Client) cleanUp() {
	c.disconnect()
	_ = os.Remove(c.path)
}

// end sends opEnd or opIdle to the holder, waits until it has exited, and removes its socket.
func (c *Client) end(op string) {
	if c.connect() != nil {
		return
	}
	if response, _, err := c.request(message{Op: op}, nil); err == nil && response.Ended {
		_, _, _ = receive(c.conn) // returns when the holder exits, or after requestTimeout
		c.cleanUp()
	}
}

// Close waits until all changes are applied, and stops a holder without files. One with files keeps running.
func (c *Client) Close() {
	c.work.close()
	select {
	case <-c.stopped:
		return
	default:
		if c.Available() {
			c.end(opIdle)
		}
		close(c.stopped)
	}

	c.disconnect()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, fd := range c.held {
		_ = unix.Close(fd)
		delete(c.held, name)
	}
}
