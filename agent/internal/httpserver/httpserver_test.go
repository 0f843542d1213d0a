package httpserver_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/internal/httpserver"
	"github.com/fairlead/fairlead/agent/service"
)

// start serves handler on a listener until the end of the test.
func start(t *testing.T, l net.Listener, clients auth.Credentials, handler http.HandlerFunc) *httpserver.Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	clients.Log = log
	s := httpserver.New(httpserver.Config{Log: log, Clients: clients, Handler: handler})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop(context.WithoutCancel(t.Context()))
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return s
}

func unixSocket(t *testing.T) (net.Listener, *http.Client) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	return l, &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	response, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestSlowClientsDelayNoOthers opens connections that never finish their headers.
func TestSlowClientsDelayNoOthers(t *testing.T) {
	l, client := unixSocket(t)
	start(t, l, auth.Credentials{}, func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	for range 100 {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: d\r\nX: "); err != nil {
			t.Fatal(err)
		}
	}
	if code, _ := get(t, client, "http://d/"); code != http.StatusNoContent {
		t.Errorf("got %d", code)
	}
}

func TestClientOfUnixSocketIsInContext(t *testing.T) {
	l, client := unixSocket(t)
	start(t, l, auth.Credentials{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, auth.ClientOf(r.Context()).String())
	})
	if code, text := get(t, client, "http://d/"); code != 200 || !strings.Contains(text, "uid=") {
		t.Errorf("got %d %q, want the user", code, text)
	}
}

func TestUnidentifiedClientIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The kernel does not find the user of a connection whose addresses are hidden.
	start(t, hidden{l}, auth.Credentials{}, func(http.ResponseWriter, *http.Request) {
		t.Error("the handler was " +
			"called")
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, text := get(t, client, "http://"+l.Addr().String()); code != http.StatusForbidden ||
		!strings.Contains(text, `"message":"permission denied`) {
		t.Errorf("got %d %q, want a refusal", code, text)
	}
}

// hidden is a listener whose connections claim another address.
type hidden struct{ net.Listener }

func (l hidden) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return hiddenConn{c}, err
}

type hiddenConn struct{ net.Conn }

func (hiddenConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9"))
}

func TestStopEndsRunningRequests(t *testing.T) {
	l, client := unixSocket(t)
	running := make(chan struct{})
	s := start(t, l, auth.Credentials{}, func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := client.Get("http://d/"); err == nil {
			_ = response.Body.Close()
		}
	}()
	<-running
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("the request was not ended")
	}
	<-done
}

// Work that outlasts its handler keeps the client, ends with the server, and is waited for.
func TestStopWaitsForWorkThatOutlastsItsHandler(t *testing.T) {
	l, client := unixSocket(t)
	ended := false
	s := start(t, l, auth.Credentials{}, func(w http.ResponseWriter, r *http.Request) {
		who := auth.ClientOf(r.Context()).String()
		ctx, done := service.Outlast(r.Context())
		go func() {
			defer done()
			<-ctx.Done()
			ended = auth.ClientOf(ctx).String() == who
		}()
		w.WriteHeader(http.StatusNoContent)
	})
	if code, _ := get(t, client, "http://d/"); code != http.StatusNoContent {
		t.Errorf("got %d", code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s.Stop(ctx); ctx.Err() != nil || !ended {
		t.Errorf("got ended %v, %v", ended, ctx.Err())
	}
}
