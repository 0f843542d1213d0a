// Package stream takes over HTTP connections for attached containers and execs: upgraded, not upgraded,
// or as websockets. It writes output in Docker's frames, and forwards input until the client closes its
// side, detaches or disconnects.
package stream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Content types of streams.
const (
	Raw         = "application/vnd.docker.raw-stream"
	Multiplexed = "application/vnd.docker.multiplexed-stream"
)

// Streams of a frame.
const (
	Stdin  byte = 0
	Stdout byte = 1
	Stderr byte = 2
)

// ContentType returns the content type of a stream. Before version 1.42 it did not depend on the frames.
func ContentType(tty bool, r *httpapi.Request) string {
	if tty || r.Version.Before(42) {
		return Raw
	}
	return Multiplexed
}

// Client is the other side of a stream.
type Client interface {
	// Write writes output of a stream.
	Write(stream byte, data []byte) error
	// Read reads input. io.EOF means that the client has closed its side.
	Read(b []byte) (int, error)
	// Close closes the connection.
	Close()
}

// writeTimeout bounds a write to a client that does not read. It only ends its own stream.
const writeTimeout = 5 * time.Minute

// conn is a connection that is taken over.
type conn struct {
	net.Conn
	in     io.Reader
	framed bool

	mu     sync.Mutex
	buffer []byte
	once   sync.Once
}

// TakeOver takes over the connection of a request, and writes the response headers. With tty the output
// has no frames.
func TakeOver(w http.ResponseWriter, r *httpapi.Request, tty bool) (Client, error) {
	if err := r.Discard(w); err != nil { // dockerode sends the options of attach as a body too
		return nil, err
	}
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{}) // the server has set one for the headers

	head := "HTTP/1.1 200 OK\r\nContent-Type: " + Raw + "\r\n\r\n"
	if r.Header.Get("Upgrade") != "" {
		head = fmt.Sprintf("HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
			ContentType(tty, r))
	}
	if _, err := raw.Write([]byte(head)); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return &conn{Conn: raw, in: rest(raw, buffered), framed: !tty}, nil
}

// Upgrade takes over the connection of a request for another protocol.
func Upgrade(w http.ResponseWriter, protocol string) (net.Conn, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{}) // the server has set one for the headers
	head := "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
	if _, err := raw.Write([]byte(head)); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return &upgraded{Conn: raw, in: rest(raw, buffered)}, nil
}

// upgraded is a connection with what was received before the upgrade.
type upgraded struct {
	net.Conn
	in io.Reader
}

// Read reads, first what was sent with the request.
func (u *upgraded) Read(b []byte) (int, error) { return u.in.Read(b) }

// rest returns what the client has sent after its request. The buffer of the server is not used for it:
// reading its end would end the context of the request.
func rest(raw net.Conn, buffered *bufio.ReadWriter) io.Reader {
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil || len(early) == 0 {
		return raw
	}
	return io.MultiReader(bytes.NewReader(bytes.Clone(early)), raw)
}

// Read reads input, first what was sent with the request.
func (c *conn) Read(b []byte) (int, error) { return c.in.Read(b) }

// Write writes output, as one frame unless the stream is raw.
func (c *conn) Write(stream byte, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if !c.framed {
		_, err := c.Conn.Write(data)
		return err
	}
	c.buffer = AppendFrame(c.buffer[:0], stream, data)
	_, err := c.Conn.Write(c.buffer)
	return err
}

// Close closes the connection. The output is sent completely before.
func (c *conn) Close() { c.once.Do(func() { shut(c.Conn) }) }

// lingerTime bounds the wait for a client to close its side.
const lingerTime = time.Second

// shut closes a connection so that the client gets all output. With unread input, the kernel would
// reset the connection, and the client would lose what it has not read yet.
func shut(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, c)
	}
	_ = c.Close()
}

// AppendFrame appends a frame: the stream, three zero bytes, the length and the data.
func AppendFrame(to []byte, stream byte, data []byte) []byte {
	to = append(to, stream, 0, 0, 0)
	to = binary.BigEndian.AppendUint32(to, uint32(len(data)))
	return append(to, data...)
}

// hangupInterval is the time between checks of a client that has closed its side.
const hangupInterval = time.Second

// watchHangup returns when the client has closed the whole connection, or over is closed. A client that only
// closed its side of the input keeps reading.
func watchHangup(over <-chan struct{}, c net.Conn) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		<-over // TCP does not distinguish the two; a write fails
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	tick := time.NewTicker(hangupInterval)
	defer tick.Stop()
	for {
		gone := false
		err := raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd)}}
			n, err := unix.Poll(fds, 0)
			gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		})
		if err != nil || gone {
			return
		}
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}
