package holder

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A holder that does not answer a request gets the other files on another connection.
func TestFailedRequestDoesNotStopTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holder")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var open atomic.Int32
	go answerSecondRequest(l, &open)

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
	for deadline := time.Now().Add(time.Minute); open.Load() > 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %d connections, want one for requests and one that watches", open.Load())
		}
	}
}

// answerSecondRequest closes the connection of the first request, and answers the others. Connections that only watch
// the holder have none.
func answerSecondRequest(l *net.UnixListener, open *atomic.Int32) {
	var requests atomic.Int32
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		open.Add(1)
		go func() {
			defer open.Add(-1)
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
