package listen_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/internal/listen"
)

// limited is a bounded listener on loopback. What it accepts comes by the channel, as long as
// a client takes it.
func limited(t *testing.T, log io.Writer) (address string, accepted chan net.Conn) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	l := listen.Limit(plain, slog.New(slog.NewTextHandler(log, nil)))
	accepted = make(chan net.Conn, 1000)
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			accepted <- conn
		}
	}()
	return plain.Addr().String(), accepted
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// refused waits until the other end closes the connection.
func refused(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v, want a closed connection", err)
	}
}

func TestSilentConnectionsOfOnePeerAreBounded(t *testing.T) {
	var log bytes.Buffer
	address, accepted := limited(t, &log)
	var served []net.Conn
	for range 64 {
		dial(t, address)
		served = append(served, <-accepted)
	}
	refused(t, dial(t, address))
	refused(t, dial(t, address))

	// One that has authenticated makes space for the next, and so does one that has gone.
	served[0].(interface{ Authenticated() }).Authenticated()
	dial(t, address)
	<-accepted
	_ = served[1].Close()
	_ = served[1].Close()
	dial(t, address)
	<-accepted
	refused(t, dial(t, address))
	if got := strings.Count(log.String(), "connections rejected, too many are open"); got == 0 {
		t.Errorf("got no line in the log: %q", log.String())
	}
}

func TestAuthenticatedConnectionsOfOnePeerAreBounded(t *testing.T) {
	address, accepted := limited(t, io.Discard)
	for range 256 {
		dial(t, address)
		(<-accepted).(interface{ Authenticated() }).Authenticated()
	}
	refused(t, dial(t, address))
}

func TestUnixSocketsAreNotBounded(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if listen.Limit(l, slog.New(slog.DiscardHandler)) != l {
		t.Error("a listener of a Unix socket is bounded")
	}
}
