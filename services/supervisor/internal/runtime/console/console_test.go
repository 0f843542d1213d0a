package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/backlog"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/console"
)

// monitor is the other end of the connections, like conmon.
type monitor struct {
	t        *testing.T
	listener *net.UnixListener
	dials    int
}

func newMonitor(t *testing.T) *monitor {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &monitor{t: t, listener: l}
}

func (m *monitor) dial(context.Context) (*net.UnixConn, error) {
	m.dials++
	return net.DialUnix("unixpacket", nil, m.listener.Addr().(*net.UnixAddr))
}

func (m *monitor) accept() *net.UnixConn {
	m.t.Helper()
	conn, err := m.listener.AcceptUnix()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// pair returns a Console with the client that starts the container, and the monitor's end.
func (m *monitor) pair(stdinOnce bool) (*console.Console, *console.Client, *net.UnixConn) {
	m.t.Helper()
	c := console.New(console.Options{Dial: m.dial, StdinOnce: stdinOnce})
	conn, err := m.dial(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return c, c.Start(conn), m.accept()
}

func (m *monitor) join(c *console.Console) *console.Client {
	m.t.Helper()
	cl, err := c.Join(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return cl
}

// print sends output as conmon does.
func (m *monitor) print(conn *net.UnixConn, stream byte, text string) {
	m.t.Helper()
	if _, err := conn.Write(append([]byte{stream + 1}, text...)); err != nil {
		m.t.Error(err)
	}
}

// wantOutput reads until the client has got text of the first stream.
func (m *monitor) wantOutput(cl *console.Client, text string) {
	m.t.Helper()
	var got []byte
	for len(got) < len(text) {
		stream, data, err := cl.Read()
		if err != nil || stream != console.Stdout {
			m.t.Fatalf("got %q, stream %d and %v, want %q", got, stream, err, text)
		}
		got = append(got, data...)
	}
	if string(got) != text {
		m.t.Fatalf("got %q, want %q", got, text)
	}
}

func (m *monitor) wantInput(conn *net.UnixConn, want string) {
	m.t.Helper()
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if string(buf[:n]) != want || want == "" && !errors.Is(err, io.EOF) {
		m.t.Fatalf("got input %q and %v, want %q", buf[:n], err, want)
	}
}

func (m *monitor) wantNoInput(conn *net.UnixConn) {
	m.t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Fatalf("got %d bytes of input and %v, want none", n, err)
	}
}

// conmon can crash when several clients leave, so it must have one only.
func TestClientsShareOneConnection(t *testing.T) {
	m := newMonitor(t)
	c := console.New(console.Options{Dial: m.dial})
	first := m.join(c)
	conn := m.accept()
	var others []*console.Client
	for range 50 {
		others = append(others, m.join(c))
	}
	m.print(conn, console.Stdout, "one\n")
	for _, cl := range append(others, first) {
		m.wantOutput(cl, "one\n")
		cl.Close()
	}

	m.print(conn, console.Stdout, "without clients\n")
	last := m.join(c)
	m.print(conn, console.Stdout, "two\n")
	for got := ""; !strings.HasSuffix(got, "two\n"); { // the line before may have come after last joined
		_, data, err := last.Read()
		if err != nil {
			t.Fatal(err)
		}
		got += string(data)
	}
	if m.dials != 1 {
		t.Errorf("connected %d times, want once", m.dials)
	}
}

func TestStreamsAreDistinguished(t *testing.T) {
	m := newMonitor(t)
	_, first, conn := m.pair(false)
	m.print(conn, console.Stderr, "error")
	if stream, data, err := first.Read(); stream != console.Stderr || string(data) != "error" || err != nil {
		t.Errorf("got stream %d, %q, %v", stream, data, err)
	}
}

func TestInputEndsOnce(t *testing.T) {
	t.Run("with the client that started it", func(t *testing.T) {
		m := newMonitor(t)
		_, first, conn := m.pair(true)
		first.Close()
		m.wantInput(conn, "")
	})
	t.Run("with a client that wrote", func(t *testing.T) {
		m := newMonitor(t)
		c, _, conn := m.pair(true)
		reader, writer := m.join(c), m.join(c)
		if _, err := writer.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		m.wantInput(conn, "text")
		reader.Close()
		m.wantNoInput(conn)
		writer.Close()
		m.wantInput(conn, "")
	})
	t.Run("when a client ends it", func(t *testing.T) {
		m := newMonitor(t)
		_, first, conn := m.pair(true)
		if err := first.CloseStdin(); err != nil {
			t.Fatal(err)
		}
		m.wantInput(conn, "")
		m.print(conn, console.Stdout, "later")
		m.wantOutput(first, "later")
	})
}

// conmon must read the end of the input before the connection is gone.
func TestLeaveEndsInput(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false)
	c.Leave()
	m.wantInput(conn, "")
	m.print(conn, console.Stdout, "later")
	m.wantOutput(first, "later")
	console.New(console.Options{}).Leave() // nothing to leave
}

func TestInputStaysOpen(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false)
	if err := first.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	first.Close()
	m.wantNoInput(conn)
	second := m.join(c)
	if _, err := second.Write(bytes.Repeat([]byte{'x'}, 10<<10)); err != nil {
		t.Fatal(err)
	}
	m.wantInput(conn, string(bytes.Repeat([]byte{'x'}, 8<<10)))
	m.wantInput(conn, string(bytes.Repeat([]byte{'x'}, 2<<10)))
}

func TestCloseInterruptsWrite(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false)
	waiting := m.join(c)
	ended := make(chan error, 2)
	for _, cl := range []*console.Client{first, waiting} {
		go func() {
			_, err := cl.Write(make([]byte, 8<<20)) // more than the socket holds
			ended <- err
		}()
	}
	time.Sleep(10 * time.Millisecond)
	first.Close()
	waiting.Close()
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a write to a container that does not read succeeded")
		}
	}

	go func() {
		for buf := make([]byte, 64<<10); ; {
			if n, err := conn.Read(buf); err != nil || n == 4 {
				return
			}
		}
	}()
	if _, err := m.join(c).Write([]byte("last")); err != nil {
		t.Errorf("the next client: %v", err)
	}
}

func TestEndOfConnection(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false)
	other := m.join(c)
	m.print(conn, console.Stdout, "last words")
	_ = conn.Close()
	for _, cl := range []*console.Client{first, other} {
		m.wantOutput(cl, "last words")
		if _, _, err := cl.Read(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
		cl.Close()
	}

	again := m.join(c)
	m.print(m.accept(), console.Stdout, "again")
	m.wantOutput(again, "again")
}

// The container waits for the client that started it and for no other one.
func TestOnlyFirstClientIsWaitedFor(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false)
	idle := m.join(c)
	packet := string(bytes.Repeat([]byte{'x'}, 8<<10))
	const packets = 5 << 10 // more than the backlog of other clients
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range packets {
			m.print(conn, console.Stdout, packet)
		}
	}()
	select {
	case <-sent:
		t.Fatal("all was sent to a client that does not read")
	case <-time.After(50 * time.Millisecond):
	}

	for got := 0; got < packets*len(packet); {
		_, data, err := first.Read()
		if err != nil {
			t.Fatal(err)
		}
		got += len(data)
	}
	<-sent

	if _, _, err := idle.Read(); !errors.Is(err, backlog.ErrSlow) {
		t.Errorf("the slow client got %v, want ErrSlow", err)
	}
	first.Close()
	if _, _, err := first.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v after Close, want ErrClosed", err)
	}
}

// The container has ended, and its last output is in the socket.
func TestOthersGetTheEndIfFirstClientStalls(t *testing.T) {
	m := newMonitor(t)
	c, first, conn := m.pair(false) // does not read
	other := m.join(c)
	packet := string(bytes.Repeat([]byte{'x'}, 8<<10))
	go func() {
		for range 1<<20/len(packet) + 4 { // a little more than the first client's share
			m.print(conn, console.Stdout, packet)
		}
		_ = conn.Close()
	}()
	for range 100 {
		c.Ended() // as soon as the exit is known, which can be before all output is read
		time.Sleep(time.Millisecond)
	}

	for _, cl := range []*console.Client{other, first} {
		got := 0
		for {
			_, data, err := cl.Read()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want EOF", err)
				}
				break
			}
			got += len(data)
		}
		if want := 1<<20 + 4*len(packet); got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
	}
}

func TestDisconnectReleasesContainer(t *testing.T) {
	m := newMonitor(t)
	c, _, conn := m.pair(false) // does not read
	m.join(c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			m.print(conn, console.Stdout, string(make([]byte, 8<<10)))
		}
	}()
	c.Disconnect()
	<-done
}

func TestJoinReportsErrors(t *testing.T) {
	refused := errors.New("refused")
	c := console.New(console.Options{Dial: func(context.Context) (*net.UnixConn, error) { return nil, refused }})
	if _, err := c.Join(t.Context()); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of Dial", err)
	}

	dialing, stop := make(chan struct{}), make(chan struct{})
	c = console.New(console.Options{Dial: func(context.Context) (*net.UnixConn, error) {
		close(dialing)
		<-stop
		return nil, refused
	}})
	first := make(chan error)
	go func() {
		_, err := c.Join(t.Context())
		first <- err
	}()
	<-dialing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Join(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a canceled call that waits for another one", err)
	}
	close(stop)
	if err := <-first; !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of Dial", err)
	}
}
