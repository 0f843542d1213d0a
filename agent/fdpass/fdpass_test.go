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

// serve answers at a socket until the test ends.
func serve(t *testing.T, give fdpass.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fd.sock")
	l, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fdpass.Serve(ctx, l, give) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return path
}

// note is a pipe that a text can be read from.
func note(t *testing.T, text string) int {
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

func TestOpenFilesAreHandedOverToManyAtOnce(t *testing.T) {
	path := serve(t, func(_ context.Context, r fdpass.Request) ([]int, error) {
		return []int{note(t, r.Kind), note(t, r.Owner)}, nil
	})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			files, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "pipes", Owner: "me"})
			if err != nil || len(files) != 2 {
				t.Errorf("%d files, %v", len(files), err)
				return
			}
			for i, want := range []string{"pipes", "me"} {
				if got, err := io.ReadAll(files[i]); string(got) != want || err != nil {
					t.Errorf("file %d: %q, %v; want %q", i, got, err, want)
				}
				_ = files[i].Close()
			}
		})
	}
	all.Wait()
}

func TestAFaultComesAsItWasMade(t *testing.T) {
	path := serve(t, func(_ context.Context, r fdpass.Request) ([]int, error) {
		if r.Kind == "nothing" {
			return nil, nil
		}
		return nil, fault.New(fault.NotFound, "sandbox of 0123", "not found", fault.WithHint("make it first"))
	})
	_, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "sockets"})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "sandbox of 0123: not found; make it first") {
		t.Errorf("err = %v", err)
	}
	if files, err := fdpass.Fetch(t.Context(), path, fdpass.Request{Kind: "nothing"}); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestAskingNobodyIsUnavailable(t *testing.T) {
	_, err := fdpass.Fetch(t.Context(), filepath.Join(t.TempDir(), "fd.sock"), fdpass.Request{})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("err = %v, want an Unavailable fault", err)
	}
}

// A giver that restarts is away for a moment, and may end with a request unanswered.
func TestAskingAgainOutlivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fd.sock")
	dying, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		files, err := fdpass.AskAgain(t.Context(), path, fdpass.Request{Kind: "pipe", Owner: "me"})
		if err == nil && len(files) == 1 {
			err = files[0].Close()
		}
		asked <- err
	}()
	conn, err := dying.AcceptUnix() // it ends with the request in its hands
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Close(), dying.Close()
	next, err := fdpass.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- fdpass.Serve(ctx, next, func(_ context.Context, r fdpass.Request) ([]int,
			error) {
			return []int{note(t, r.Kind)}, nil
		})
	}()
	if err := <-asked; err != nil {
		t.Errorf("AskAgain: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestAGiverThatHangsHoldsNobodyLongerThanTheyWant(t *testing.T) {
	release := make(chan struct{})
	path := serve(t, func(context.Context, fdpass.Request) ([]int, error) { <-release; return nil, nil })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := fdpass.Fetch(ctx, path, fdpass.Request{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("err = %v, want an Unavailable fault", err)
	}
}

func TestAStaleSocketIsReplacedAndKeptFromOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fd.sock")
	for range 2 {
		l, err := fdpass.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}
