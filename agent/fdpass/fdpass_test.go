package fdpass_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
)

// serve handles requests at a new socket until the test ends, and returns its path.
func serve(t *testing.T, handle fdpass.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fd.sock")
	l, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fdpass.Serve(ctx, l, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path
}

// textPipe returns the read end of a pipe that contains text.
func textPipe(t *testing.T, text string) int {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Error(err)
		return -1
	}
	if _, err := unix.Write(p[1], []byte(text)); err != nil {
		t.Error(err)
	}
	_ = unix.Close(p[1])
	return p[0]
}

func TestFetchConcurrent(t *testing.T) {
	path := serve(t, func(_ context.Context, r fdpass.Request) ([]int, error) {
		return []int{textPipe(t, r.Kind), textPipe(t, r.Owner)}, nil
	})

	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			files, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "pipes", Owner: "me"})
			if err != nil || len(files) != 2 {
				t.Errorf("got %d files, error %v, want 2", len(files), err)
				return
			}
			for i, want := range []string{"pipes", "me"} {
				if got, err := io.ReadAll(files[i]); string(got) != want || err != nil {
					t.Errorf("file %d: got %q, error %v, want %q", i, got, err, want)
				}
				_ = files[i].Close()
			}
		})
	}

	all.Wait()
}

func TestFetchReturnsFaultUnchanged(t *testing.T) {
	path := serve(t, func(_ context.Context, r fdpass.Request) ([]int, error) {
		if r.Kind == "nothing" {
			return nil, nil
		}
		return nil, fault.New(fault.NotFound, "sandbox of 0123", "not found", fault.WithHint("make it first"))
	})

	_, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "sockets"})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "sandbox of 0123: not found; make it first") {
		t.Errorf("got error %v, want the fault of the handler", err)
	}
	if files, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "nothing"}); err != nil || len(files) != 0 {
		t.Errorf("got files %v, error %v, want none", files, err)
	}
}

func TestFetchWithoutServerUnavailable(t *testing.T) {
	_, err := fdpass.Fetch(t.Context(), filepath.Join(t.TempDir(), "fd.sock"), fdpass.Request{})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("got error %v, want an Unavailable fault", err)
	}
}

// A server that restarts is unavailable for a moment, and may exit without responding to a request.
func TestAskAgainSurvivesServerRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fd.sock")
	former, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}

	fetched := make(chan error, 1)
	go func() {
		files, err := fdpass.AskAgain(t.Context(), path, fdpass.Request{Kind: "pipe", Owner: "me"})
		if err == nil && len(files) == 1 {
			err = files[0].Close()
		}
		fetched <- err
	}()
	conn, err := former.AcceptUnix() // closed below without a response
	if err != nil {
		t.Fatal(err)
	}

	_, _ = conn.Close(), former.Close()
	next, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- fdpass.Serve(ctx, next, func(_ context.Context, r fdpass.Request) ([]int, error) {
			return []int{textPipe(t, r.Kind)}, nil
		})
	}()
	if err := <-fetched; err != nil {
		t.Errorf("AskAgain: %v", err)
	}

	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestFetchTimesOutWhenServerHangs(t *testing.T) {
	release := make(chan struct{})
	path := serve(t, func(context.Context, fdpass.Request) ([]int, error) { <-release; return nil, nil })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := fdpass.Fetch(ctx, path, fdpass.Request{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got error %v, want an Unavailable fault", err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fd.sock")
	for range 2 {
		l, err := fdpass.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got socket %v, error %v, want mode 0600", info, err)
		}
	}
}
