package builder

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// fakeNetwork is a network of build steps whose servers need some time to end.
type fakeNetwork struct {
	t      *testing.T
	dir    string
	opened atomic.Int64
	served atomic.Int64 // servers that have not ended
}

// open also listens on the socket of BuildKit, which the process does not do.
func (f *fakeNetwork) open(ctx context.Context, _ string) (func(), error) {
	f.opened.Add(1)
	if f.served.Add(1) > 1 {
		f.t.Error("got a network while the previous one is served")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", filepath.Join(f.dir, "build.sock"))
	if err != nil {
		return nil, err
	}
	return func() {
		<-ctx.Done()
		_ = listener.Close()
		time.Sleep(50 * time.Millisecond)
		f.served.Add(-1)
	}, nil
}

// newFakeBuilder returns a builder whose BuildKit is a script.
func newFakeBuilder(t *testing.T, script string) (*Builder, *fakeNetwork) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "buildkitd")
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	network := &fakeNetwork{t: t, dir: dir}
	b := New(Config{Program: program, Runtime: "/bin/sh", DataRoot: dir, ExecRoot: dir, Plugin: "/bin/true",
		Log: slog.New(slog.DiscardHandler), Network: network.open, idle: time.Hour,
		HostGateways: func(context.Context) ([]string, error) { return nil, nil },
		Registries:   func() Registries { return Registries{} }})
	t.Cleanup(b.Close)
	return b, network
}

// use uses the builder, and fails the test if it cannot.
func use(t *testing.T, b *Builder) *Use {
	t.Helper()
	u, err := b.Use(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUseAwaitsNetworkOfEndedProcess(t *testing.T) {
	b, network := newFakeBuilder(t, "#!/bin/sh\nexec sleep 1000\n")
	first := use(t, b)
	if err := b.process.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.Ended
	use(t, b)
	if got := network.opened.Load(); got != 2 {
		t.Errorf("got %d networks, want 2", got)
	}
}

func TestFailedStartAwaitsNetwork(t *testing.T) {
	b, network := newFakeBuilder(t, "#!/no/such/interpreter\n")
	for range 2 {
		if _, err := b.Use(t.Context(), false); err == nil {
			t.Error("got no error of a program that cannot be started")
		}
		if got := network.served.Load(); got != 0 {
			t.Errorf("got %d servers of the network after a failed start, want 0", got)
		}
	}
}

func TestEarlierIdleTimeDoesNotStopBuildKit(t *testing.T) {
	b, _ := newFakeBuilder(t, "#!/bin/sh\nexec sleep 1000\n")
	use(t, b).Release()
	earlier := b.period
	second := use(t, b)
	b.stopIdle(earlier)
	if b.process == nil {
		t.Error("got BuildKit stopped in use")
	}

	second.Release()
	b.stopIdle(earlier)
	if b.process == nil {
		t.Error("got BuildKit stopped directly after a use")
	}
	b.stopIdle(b.period)
	if b.process != nil {
		t.Error("got BuildKit running after its idle time")
	}
}

func TestCloseEndsStart(t *testing.T) {
	b, network := newFakeBuilder(t, "#!/bin/sh\nexec sleep 1000\n")
	accepting := network.open
	b.cfg.Network = func(ctx context.Context, socket string) (func(), error) {
		serve, err := accepting(ctx, socket)
		_ = os.Remove(filepath.Join(network.dir, "build.sock")) // BuildKit does not accept connections
		return serve, err
	}
	ended := make(chan error)
	go func() {
		_, err := b.Use(t.Context(), false)
		ended <- err
	}()
	for network.opened.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	b.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a start during Close, want context.Canceled", err)
	}
	b.Close()
}
