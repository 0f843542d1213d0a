package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// patience bounds one request.
const patience = 5 * time.Second

// How long a client waits before it starts another holder in place of one that ended without being asked: the longer, the more of
// them have done so.
const (
	respawnDelay    = 50 * time.Millisecond
	respawnDelayMax = time.Minute
)

// Client has a holder hold files, and starts it with the first one. Changes are made in their order and in the background; what the
// holder loses because it is killed, the next one gets again. It is safe for concurrent use.
type Client struct {
	path    string
	program []string // that becomes a holder; empty: there is none
	log     *slog.Logger

	work    *queue
	stopped chan struct{}

	mu   sync.Mutex
	held map[string]int // duplicates of what is held

	conn  *net.UnixConn // this and the following belong to the work
	delay time.Duration // before the next holder is started
}

// New makes a client whose socket is at a path. It starts no process.
func New(path string, program []string, log *slog.Logger) *Client {
	return &Client{path: path, program: program, log: log, work: newQueue(), stopped: make(chan struct{}), held: map[string]int{}, delay: respawnDelay}
}

// Available reports whether files are held.
func (c *Client) Available() bool { return len(c.program) > 0 }

// wait runs work and waits for it.
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

// Inherited returns what a holder holds for the process before, by name. The caller closes the files.
func (c *Client) Inherited() map[string][]*os.File {
	left := map[string][]*os.File{}
	err := c.wait(context.Background(), func() error {
		if c.connect() != nil {
			return nil // there is no holder
		}
		return c.takeAll(left)
	})
	if err != nil {
		c.log.Warn("cannot take over open files", "holder", c.path, "error", err)
	}
	return left
}

func (c *Client) takeAll(left map[string][]*os.File) error {
	m, fds, err := c.ask(message{Op: opTake}, nil)
	for {
		if err != nil {
			return err
		}
		for i, fd := range fds {
			name := m.Names[i]
			if own, derr := duplicate(fd); derr == nil {
				c.remember(name, own)
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

func (c *Client) remember(name string, fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.held[name]; ok {
		_ = unix.Close(before)
	}
	c.held[name] = fd
}

// Put has a file held under a name. The caller may close the file.
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
	c.remember(name, own)
	c.work.add(func() {
		if err := c.put(name); err != nil {
			c.log.Warn("cannot have an open file held", "holder", c.path, "name", name, "error", err)
		}
	})
	return nil
}

// put sends what is to be held under a name now.
func (c *Client) put(name string) error {
	started, err := c.start()
	if err != nil || started {
		return err // a new holder has got all
	}
	if err := c.send(name); err == nil {
		return nil
	}
	time.Sleep(respawnDelay) // it is ending, or was killed
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
	_, _, err = c.ask(message{Op: opPut, Names: []string{name}}, []int{own})
	return err
}

// Drop has a file held no longer. It does nothing if there is none of that name.
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
		response, _, err := c.ask(message{Op: opDrop, Names: []string{name}}, nil)
		if err != nil {
			c.log.Warn("cannot have an open file dropped", "holder", c.path, "name", name, "error", err)
		}
		if response.Ended {
			c.forget()
		}
	})
	return nil
}

// Clear ends the holder and removes its socket.
func (c *Client) Clear(ctx context.Context) error {
	return c.wait(ctx, func() error {
		c.mu.Lock()
		for name, fd := range c.held {
			_ = unix.Close(fd)
			delete(c.held, name)
		}
		c.mu.Unlock()
		if c.connect() == nil {
			_, _, _ = c.ask(message{Op: opEnd}, nil)
		}
		c.forget()
		return nil
	})
}

// forget removes what a holder that ended leaves.
func (c *Client) forget() {
	c.hangUp()
	_ = os.Remove(c.path)
}

// Close waits until all changes are made. The holder goes on.
func (c *Client) Close() {
	c.work.close()
	select {
	case <-c.stopped:
		return
	default:
		close(c.stopped)
	}
	c.hangUp()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, fd := range c.held {
		_ = unix.Close(fd)
		delete(c.held, name)
	}
}

// connect connects to a holder that runs.
func (c *Client) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: c.path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	c.conn = conn
	return c.watch()
}

func (c *Client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// watch starts another holder when this one ends while it holds something.
func (c *Client) watch() error {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: c.path, Net: "unixpacket"})
	if err != nil {
		c.hangUp()
		return err
	}
	delay := c.delay
	c.delay = min(2*delay, respawnDelayMax)
	gone := make(chan struct{})
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // it says nothing, until it ends
		close(gone)
	}()
	go func() {
		defer conn.Close()
		select {
		case <-c.stopped:
			return
		case <-gone:
		}
		select {
		case <-c.stopped:
		case <-time.After(delay):
			c.work.add(c.replace)
		}
	}()
	return nil
}

// replace starts a holder in place of one that ended, if there is something to hold.
func (c *Client) replace() {
	c.mu.Lock()
	need := len(c.held) > 0
	c.mu.Unlock()
	if !need {
		return
	}
	c.hangUp()
	if _, err := c.start(); err != nil {
		c.log.Warn("cannot replace a holder that ended", "holder", c.path, "error", err)
	}
}

// ask sends a request and returns the response, or its first part.
func (c *Client) ask(m message, fds []int) (message, []int, error) {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	err := send(c.conn, m, fds)
	var response message
	var got []int
	if err == nil {
		response, got, err = receive(c.conn)
	}
	if err == nil && response.Error != "" {
		err = errors.New(response.Error)
	}
	if err != nil {
		c.hangUp()
		return response, got, err
	}
	c.delay = respawnDelay
	return response, got, nil
}

// start connects to a holder, and starts one that gets all files if there is none.
func (c *Client) start() (started bool, err error) {
	if c.connect() == nil {
		return false, nil
	}
	if err := c.spawn(); err != nil {
		return false, fault.Wrap(err, fault.Unavailable, c.subject(), "cannot be started")
	}
	if err := c.connect(); err != nil {
		return false, err
	}
	c.mu.Lock()
	var names []string
	for name := range c.held {
		names = append(names, name)
	}
	c.mu.Unlock()
	for _, name := range names {
		err = errors.Join(err, c.send(name))
	}
	return true, err
}

// spawn starts the process. Its socket is there before it is, so that nobody waits for it.
func (c *Client) spawn() error {
	if err := os.Remove(c.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: c.path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(c.path, 0o600); err != nil {
		return err
	}
	file, err := l.File()
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.Command(c.program[0], append(c.program[1:len(c.program):len(c.program)], Command, strconv.Itoa(os.Geteuid()))...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{file}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.program[0], err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
