package buildkit

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit/wire"
)

// TestIdleClientsLeaveNothing: clients that open both connections of a build and say nothing hold nothing once
// they are gone.
func TestIdleClientsLeaveNothing(t *testing.T) {
	bk := fakeBuildKit(t, func(*grpc.ClientConn, metadata.MD, wire.Message) error { return nil })
	g := New(Config{Images: newFakeStore()})
	before := runtime.NumGoroutine()

	done := make(chan struct{})
	var clients []net.Conn
	serve := func(run func(net.Conn)) {
		near, far := net.Pipe()
		clients = append(clients, near)
		go func() {
			run(far)
			_ = far.Close()
			done <- struct{}{}
		}()
	}
	for i := range 100 {
		serve(func(c net.Conn) { g.Control(t.Context(), bk, c) })
		serve(func(c net.Conn) { _ = g.Session(t.Context(), bk, c, http.Header{headerID: {fmt.Sprint(i)}}) })
	}
	open := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.sessions)
	}
	await(t, "100 sessions are open", func() bool { return open() == 100 })

	for _, c := range clients {
		_ = c.Close()
	}
	for range clients {
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("a connection is still served; %d sessions are open", open())
		}
	}
	if n := open(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	await(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+5 })
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout waiting until %s", what)
		}
	}
}
