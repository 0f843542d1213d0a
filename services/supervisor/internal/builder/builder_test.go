package builder_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/builder"
)

// newBuilder returns a builder whose BuildKit is a shell script with the path of the configuration in $2.
func newBuilder(t *testing.T, script string) *builder.Builder {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "buildkitd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	b := builder.New(builder.Config{Program: program, Runtime: "/bin/sh", DataRoot: dir, ExecRoot: dir,
		Plugin:       "/bin/true",
		Log:          slog.New(slog.DiscardHandler),
		Network:      func(ctx context.Context, _ string) (func(), error) { return func() { <-ctx.Done() }, nil },
		HostGateways: func(context.Context) ([]string, error) { return nil, nil },
		Registries:   func() builder.Registries { return builder.Registries{} }})
	t.Cleanup(b.Close)
	return b
}

func TestUseReportsWhatIsMissing(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for want, cfg := range map[string]builder.Config{
		"builds: need BuildKit, and /no/such was not found; install buildkitd, or set the key buildkitd to its path": {
			Program: "/no/such", Log: log},
		"builds: need runc, and /no/runc was not found; install the package runc": {
			Program: "/bin/true", Runtime: "/no/runc", Log: log},
	} {
		if _, err := builder.New(cfg).Use(t.Context(), false); !fault.Is(err, fault.Busy) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestUseReportsWhyBuildKitEnded(t *testing.T) {
	b := newBuilder(t, "echo one >&2; echo 'bad root' >&2; exit 1")
	if _, err := b.Use(t.Context(), false); err == nil || !strings.Contains(err.Error(), "one; bad root") {
		t.Errorf("got %v", err)
	}
	if _, err := b.Use(t.Context(), true); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v without a cache, want NotFound", err)
	}
}

func TestUseEndsWithItsContext(t *testing.T) {
	b := newBuilder(t, "exec sleep 1000")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Use(ctx, false); err == nil || ctx.Err() == nil {
		t.Errorf("got %v, want the error of the context", err)
	}
	b.Close()
	if _, err := b.Use(t.Context(), false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v of a closed builder, want Unavailable", err)
	}
}
