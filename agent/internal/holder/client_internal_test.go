package holder

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A holder that does not answer a request gets the other files on another connection.
func TestFailedRequestDoesNotStopTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holder")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go answerSecondRequest(l)

	c := New(path, []string{"true"}, slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	for _, name := range []string{"one", "two"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		own, err := duplicate(int(r.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		c.keep(name, own)
	}
	if err := c.sendAll(); err == nil {
		t.Error("got no error of the request without a response")
	}
	if c.conn == nil {
		t.Error("got no connection after the other request")
	}
}

// answerSecondRequest closes the connection of the first request, and answers the others. Connections that only watch
// the holder have none.
func answerSecondRequest(l *net.UnixListener) {
	var requests atomic.Int32
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for {
				_, fds, err := receive(conn)
				if err != nil || requests.Add(1) == 1 {
					closeAll(fds)
					return
				}
				closeAll(fds)
				_ = send(conn, message{}, nil)
			}
		}()
	}
}
