package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

// errEnded is the error of a request to a holder that had no files and exits.
var errEnded = errors.New("the holder exits")

// connect connects to a running holder.
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

func (c *Client) disconnect() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// watch starts another holder when this one exits while it holds files, and removes the socket of one that exits
// without files.
func (c *Client) watch() error {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: c.path, Net: "unixpacket"})
	if err != nil {
		c.disconnect()
		return err
	}

	if c.unwatch != nil {
		close(c.unwatch) // the connection before has a watch of its own
	}
	unwatch := make(chan struct{})
	c.unwatch = unwatch
	delay, own := c.delay, c.conn
	c.delay = min(2*delay, respawnDelayMax)
	gone := make(chan struct{})
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // returns when the holder exits
		close(gone)
	}()
	go func() {
		defer conn.Close()
		select {
		case <-c.stopped:
			return
		case <-unwatch:
			return
		case <-gone:
		}
		select {
		case <-c.stopped:
		case <-unwatch:
		case <-time.After(delay):
			c.work.add(func() { c.replace(own) })
		}
	}()
	return nil
}

// replace starts a holder instead of one that exited, if there are files to hold. own is the connection to that one.
func (c *Client) replace(own *net.UnixConn) {
	if c.conn != nil && c.conn != own {
		return // to its successor
	}

	c.disconnect()
	c.mu.Lock()
	need := len(c.held) > 0
	c.mu.Unlock()
	if !need {
		if c.connect() != nil {
			c.cleanUp()
		}
		return
	}

	if _, err := c.start(); err != nil {
		c.log.Warn("cannot restart holder", "holder", c.path, "error", err)
	}
}

// request sends a request and returns the response, or its first part. It connects again if an earlier request failed.
func (c *Client) request(m message, fds []int) (message, []int, error) {
	if err := c.connect(); err != nil {
		return message{}, nil, err
	}
	_ = c.conn.SetDeadline(time.Now().Add(requestTimeout))
	err := send(c.conn, m, fds)
	var response message
	var got []int
	if err == nil {
		response, got, err = receive(c.conn)
	}
	switch {
	case err != nil || response.Error == "":
	case response.Ended:
		err = errEnded
	default:
		err = errors.New(response.Error)
	}
	if err != nil {
		c.disconnect()
		return response, got, err
	}

	c.delay = respawnDelay
	return response, got, nil
}

// start connects to a holder. If there is none, it starts one and sends all files.
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

	return true, c.sendAll()
}

// sendAll sends all files.
func (c *Client) sendAll() (err error) {
	c.mu.Lock()
	var names []string
	for name := range c.held {
		names = append(names, name)
	}

	c.mu.Unlock()
	for _, name := range names {
		err = errors.Join(err, c.send(name))
	}
	return err
}

// spawn starts the process. Its socket exists before the process runs, so clients do not need to
// wait.
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
	cmd := exec.Command(c.program[0], append(c.program[1:len(c.program):len(c.program)], Command,
		strconv.Itoa(os.Geteuid()))...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{file}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.program[0], err)
	}

	go func() { _ = cmd.Wait() }()
	return nil
}
