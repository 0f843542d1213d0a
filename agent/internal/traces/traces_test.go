package traces_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/traces"
	"github.com/fairlead/fairlead/agent/test/testcollector"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer is a log that goroutines share.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func newTracer(t *testing.T, socket string) (*traces.Tracer, *lockedBuffer) {
	t.Helper()
	to, err := config.ParseCollector("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuffer)
	tracer, err := traces.New(to, "test", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return tracer, log
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "s") }

// request returns a request with the metadata of a call.
func request(name string, inner bool, md map[string]string) tracing.Request {
	return tracing.Request{Name: name, Inner: inner, Get: func(key string) string { return md[key] }}
}

func TestTraceCrossesProcesses(t *testing.T) {
	socket := socketPath(t)
	collector, err := testcollector.Start(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(collector.Stop)
	one, _ := newTracer(t, socket)
	two, _ := newTracer(t, socket)

	ctx, run := one.Request(t.Context(), request("run", false, nil))
	stepCtx, step := tracing.Start(ctx, "join network")
	md := map[string]string{}
	tracing.Inject(stepCtx, func(key, value string) { md[key] = value })
	ctx2, call := two.Request(t.Context(), request("CreateSandbox", true, md))
	_, attach := tracing.Start(ctx2, "attach")
	attach.End(nil)
	call.End(fault.NotFoundf("network \xff", "does not exist"))
	step.Set("text", strings.Repeat("\xff", 5000))
	step.End(nil)
	run.Rename("run web")
	run.End(nil)

	_, inner := two.Request(t.Context(), request("background", true, nil))
	inner.End(nil)
	_, launch := tracing.Begin(two.With(t.Context()), "restart")
	launch.End(nil)
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}

	want := "run web\n  join network\n    CreateSandbox failed: network \uFFFD: does not exist\n      attach\nrestart\n"
	if got := collector.Trees(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if sent, dropped := one.Counts(); sent != 2 || dropped != 0 {
		t.Errorf("got %d sent, %d dropped", sent, dropped)
	}
}

func TestClientDecidesAgainstTrace(t *testing.T) {
	tracer, _ := newTracer(t, socketPath(t))
	const id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	ctx, step := tracer.Request(t.Context(), request("run", false, map[string]string{"traceparent": id}))
	step.End(nil)
	_, launch := tracing.Begin(tracer.With(ctx), "launch")
	if err := tracer.Close(); err != nil || launch.Recorded() {
		t.Errorf("got %v, launch recorded %v", err, launch.Recorded())
	}
	if sent, dropped := tracer.Counts(); sent+dropped != 0 {
		t.Errorf("got %d sent, %d dropped", sent, dropped)
	}
}

// Spans that nothing receives are counted, and more than the queue holds do not wait.
func TestUnreachableCollectorDropsSpans(t *testing.T) {
	tracer, log := newTracer(t, socketPath(t))
	const spans = 6000
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for i := range spans / 3 {
				_, step := tracer.Request(context.Background(), request(fmt.Sprint(i), false, nil))
				step.End(nil)
			}
		})
	}
	all.Wait()
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
	if sent, dropped := tracer.Counts(); sent != 0 || dropped != spans {
		t.Errorf("got %d sent, %d dropped, want %d dropped", sent, dropped, spans)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("got %d log lines, want 1:\n%s", lines, log)
	}
}

func TestNothingIsRecordedWithoutCollector(t *testing.T) {
	tracer, err := traces.New(config.Collector{}, "test", slog.New(slog.DiscardHandler))
	if tracer != nil || err != nil {
		t.Fatalf("got %v, %v", tracer, err)
	}
	r := request("run", false, nil)
	allocated := testing.AllocsPerRun(100, func() {
		ctx, step := tracer.Request(tracer.With(t.Context()), r)
		ctx, launch := tracing.Begin(ctx, "launch")
		ctx, inner := tracing.Start(ctx, "join network")
		tracing.Inject(ctx, nil)
		tracing.Of(ctx).Set("key", "value")
		inner.End(nil)
		launch.End(fault.NotFoundf("", ""))
		step.End(nil)
	})
	if allocated > 1 { // the fault
		t.Errorf("got %g allocations", allocated)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkStep(b *testing.B) {
	tracer, err := traces.New(config.Collector{}, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx := tracer.With(b.Context())
	for b.Loop() {
		_, step := tracing.Start(ctx, "join network")
		step.End(nil)
	}
}
