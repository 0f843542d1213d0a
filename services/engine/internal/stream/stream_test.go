package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"go.uber.org/goleak"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
)

// process is the other end of a call. It receives input and sends output.
type process struct {
	input  chan *containerv1.Input
	output chan *containerv1.Output
	ctx    context.Context
	cancel context.CancelFunc
}

func newProcess() *process {
	p := &process{input: make(chan *containerv1.Input, 100), output: make(chan *containerv1.Output, 100)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *process) call() stream.Call {
	return stream.Call{Cancel: p.cancel,
		Send: func(in *containerv1.Input) error { p.input <- in; return nil },
		Output: func() (*containerv1.Output, error) {
			select {
			case out, ok := <-p.output:
				if !ok {
					return nil, io.EOF
				}
				return out, nil
			case <-p.ctx.Done():
				return nil, p.ctx.Err()
			}
		}}
}

// serve serves one operation that attaches to a process, on a Unix socket.
func serve(t *testing.T, p *process, tty bool, o stream.Options,
	take func(http.ResponseWriter, *httpapi.Request, bool) (stream.Client, error)) (dial func() *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: httpapi.NewRouter(slog.New(slog.DiscardHandler),
		func(context.Context) error { return nil }, []httpapi.Operation{{Method: http.MethodPost, Path: "/attach",
			Handle: func(w http.ResponseWriter, r *httpapi.Request) error {
				client, err := take(w, r, tty)
				if err != nil {
					return err
				}
				rest := r.Continue()
				defer rest.Close()
				rest.Go(func() { stream.Pump(rest.Context, client, p.call(), o) })
				return nil
			}}})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		goleak.VerifyNone(t)
	})
	return func() *net.UnixConn {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn.(*net.UnixConn)
	}
}

const upgrade = "POST /v1.44/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

// head reads the headers of a response, and returns the rest.
func head(t *testing.T, conn net.Conn, want ...string) *bufio.Reader {
	t.Helper()
	in := bufio.NewReader(conn)
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("got %q, %v", text.String(), err)
		}
		if strings.TrimSpace(line) == "" {
			break
		}
		text.WriteString(line)
	}
	for _, w := range want {
		if !strings.Contains(text.String(), w) {
			t.Errorf("got headers %q, want %q", text.String(), w)
		}
	}
	return in
}

var all = stream.Options{Stdin: true, Stdout: true, Stderr: true, CloseStdin: true}

func out(kind containerv1.StreamKind, text string) *containerv1.Output {
	return &containerv1.Output{Stream: kind, Data: []byte(text)}
}

func TestUpgradedStreamHasFramesAndHalfClose(t *testing.T) {
	p := newProcess()
	conn := serve(t, p, false, all, stream.TakeOver)()
	_, _ = io.WriteString(conn, upgrade+"early")
	in := head(t, conn, "101 UPGRADED", "Upgrade: tcp", "application/vnd.docker.multiplexed-stream")
	_, _ = io.WriteString(conn, "late")
	_ = conn.CloseWrite()

	var got []byte
	for m := range p.input {
		if m.GetStdinClosed() {
			break
		}
		got = append(got, m.GetStdin()...)
	}
	if string(got) != "earlylate" {
		t.Errorf("got input %q, want earlylate", got)
	}

	p.output <- out(containerv1.StreamKind_STREAM_KIND_STDOUT, "one")
	p.output <- out(containerv1.StreamKind_STREAM_KIND_STDERR, "two")
	close(p.output)
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, in); err != nil || stdout.String() != "one" ||
		stderr.String() != "two" {
		t.Errorf("got %q, %q, %v", &stdout, &stderr, err)
	}
}

func TestRequestBodyIsNoInput(t *testing.T) {
	p := newProcess()
	conn := serve(t, p, false, all, stream.TakeOver)()
	_, _ = io.WriteString(conn, strings.TrimSuffix(upgrade, "\r\n")+"Content-Length: 15\r\n\r\n"+`{"stream":true}early`)
	head(t, conn, "101 UPGRADED")
	_, _ = io.WriteString(conn, "late")
	_ = conn.CloseWrite()

	var got []byte
	for m := range p.input {
		if m.GetStdinClosed() {
			break
		}
		got = append(got, m.GetStdin()...)
	}
	if string(got) != "earlylate" {
		t.Errorf("got input %q, want earlylate", got)
	}
	close(p.output)
}

func TestStreamWithoutUpgradeIsRawOnTerminal(t *testing.T) {
	p := newProcess()
	conn := serve(t, p, true, all, stream.TakeOver)()
	_, _ = io.WriteString(conn, "POST /v1.24/attach HTTP/1.1\r\nHost: d\r\n\r\n")
	in := head(t, conn, "HTTP/1.1 200 OK", "application/vnd.docker.raw-stream")
	p.output <- out(containerv1.StreamKind_STREAM_KIND_STDOUT, "text")
	close(p.output)
	if got, err := io.ReadAll(in); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLeavingClientEndsOnlyItsCall(t *testing.T) {
	p := newProcess()
	conn := serve(t, p, false, all, stream.TakeOver)()
	_, _ = io.WriteString(conn, upgrade)
	head(t, conn)
	_ = conn.Close()
	<-p.ctx.Done() // within the interval of the check
}

// TestOutputIsCompleteAfterFailedInput: input fails as soon as the process has ended, when output can still follow.
func TestOutputIsCompleteAfterFailedInput(t *testing.T) {
	for range 20 {
		p, failed := newProcess(), make(chan struct{})
		call := p.call()
		call.Send = func(*containerv1.Input) error {
			close(failed)
			return io.EOF
		}
		here, client := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			stream.Pump(t.Context(), pipe{client}, call, all)
		}()
		_, _ = io.WriteString(here, "x")
		<-failed
		go func() {
			for range 100 {
				p.output <- out(containerv1.StreamKind_STREAM_KIND_STDOUT, "o")
			}
			close(p.output)
		}()
		if got, err := io.ReadAll(here); err != nil || len(got) != 100 {
			t.Fatalf("got %d bytes, %v, want 100", len(got), err)
		}
		<-done
	}
}

// pipe is a client that gets output without frames.
type pipe struct{ net.Conn }

func (c pipe) Write(_ byte, data []byte) error {
	_, err := c.Conn.Write(data)
	return err
}

func (c pipe) Close() { _ = c.Conn.Close() }

func TestDetachKeysEndTheCall(t *testing.T) {
	keys, err := stream.ParseDetachKeys("")
	if err != nil {
		t.Fatal(err)
	}
	p, o := newProcess(), all
	o.DetachKeys = keys
	conn := serve(t, p, true, o, stream.TakeOver)()
	_, _ = io.WriteString(conn, upgrade)
	in := head(t, conn)
	_, _ = io.WriteString(conn, "a\x10b\x10")
	_, _ = io.WriteString(conn, "\x11rest")
	if _, err := io.ReadAll(in); err != nil {
		t.Error(err)
	}
	<-p.ctx.Done()
	var typed []byte
	detached := false
	for len(p.input) > 0 {
		m := <-p.input
		typed, detached = append(typed, m.GetStdin()...), detached || m.GetDetach()
	}
	if string(typed) != "a\x10b" || !detached {
		t.Errorf("got input %q, detached %v", typed, detached)
	}
}

func TestDetachKeys(t *testing.T) {
	for text, want := range map[string]string{"": "\x10\x11", "a,ctrl-@": "a\x00", "ctrl-[": "\x1b", "ctrl-_": "\x1f"} {
		if got, err := stream.ParseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ab", "a,,b"} {
		if _, err := stream.ParseDetachKeys(text); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestWebsocket(t *testing.T) {
	p := newProcess()
	conn := serve(t, p, false, all, stream.Websocket)()
	_, _ = io.WriteString(conn, "POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := head(t, conn, "101", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") // the example of RFC 6455
	mask := []byte{1, 2, 3, 4}
	_, _ = conn.Write([]byte{0x82, 0x82, 1, 2, 3, 4, 'h' ^ mask[0], 'i' ^ mask[1]})
	_, _ = conn.Write([]byte{0x89, 0x80, 0, 0, 0, 0}) // ping
	if m := <-p.input; string(m.GetStdin()) != "hi" {
		t.Errorf("got input %q, want hi", m.GetStdin())
	}
	p.output <- out(containerv1.StreamKind_STREAM_KIND_STDOUT, "out")
	close(p.output)
	got, err := io.ReadAll(in)
	if err != nil || !bytes.Contains(got, []byte("\x82\x03out")) || !bytes.Contains(got, []byte("\x88\x02\x03\xe8")) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestManyStreamsLeaveNothing(t *testing.T) {
	p := newProcess()
	dial := serve(t, p, false, all, stream.TakeOver)
	var conns []*net.UnixConn
	for i := range 100 {
		conn := dial()
		switch i % 4 {
		case 0: // never sends a request
		case 1:
			_, _ = io.WriteString(conn, "POST /attach HTTP/1.1\r\n") // never ends its headers
		case 2:
			_, _ = io.WriteString(conn, "POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nContent-Length: "+
				"6\r\n\r\n")
			if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "400") {
				t.Errorf("two lengths: got %q, %v, want 400", status, err)
			}
		default:
			_, _ = io.WriteString(conn, upgrade) // upgrades and is silent
			head(t, conn)
		}
		conns = append(conns, conn)
	}
	for _, c := range conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	<-p.ctx.Done()
}
