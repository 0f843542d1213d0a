package traces

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	queueSize = 4096 // spans that wait
	batchSize = 512  // spans of one message
	maxTries  = 12   // of one batch

	batchDelay   = time.Second     // a batch waits for more spans
	retryDelay   = 5 * time.Second // after a failure
	sendTimeout  = 5 * time.Second // of one attempt
	closeTimeout = 5 * time.Second // for the last batches
)

// queue is the SpanProcessor between requests and the exporter. One goroutine sends.
type queue struct {
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	waiting  chan sdktrace.ReadOnlySpan

	sent, dropped atomic.Uint64

	closing chan struct{} // closed when no span arrives any more
	closed  atomic.Bool
	ending  context.Context // ends when the goroutine must
	abort   context.CancelFunc
	done    chan struct{}
}

func newQueue(exporter sdktrace.SpanExporter, log *slog.Logger) *queue {
	q := &queue{exporter: exporter, log: log, waiting: make(chan sdktrace.ReadOnlySpan, queueSize),
		closing: make(chan struct{}), done: make(chan struct{})}
	q.ending, q.abort = context.WithCancel(context.Background())
	go q.run()
	return q
}

// OnStart implements SpanProcessor.
func (q *queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements SpanProcessor. It drops the span if the queue is full.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.closed.Load() {
		q.dropped.Add(1)
		return
	}
	select {
	case q.waiting <- s:
	default:
		q.dropped.Add(1)
	}
}

// ForceFlush implements SpanProcessor. No caller needs it.
func (q *queue) ForceFlush(context.Context) error { return nil }

// Shutdown implements SpanProcessor. It sends what waits until ctx ends.
func (q *queue) Shutdown(ctx context.Context) error {
	if q.closed.Swap(true) {
		return nil
	}
	close(q.closing)
	stop := context.AfterFunc(ctx, q.abort)
	defer stop()
	<-q.done
	q.abort()
	return q.exporter.Shutdown(context.WithoutCancel(ctx))
}

// run sends batches until the queue is closed and empty, or must end.
func (q *queue) run() {
	defer close(q.done)
	failing := false
	for {
		batch := q.collect()
		if len(batch) == 0 {
			return
		}
		q.send(batch, &failing)
	}
}

// collect waits for a batch. It is empty at the end.
func (q *queue) collect() []sdktrace.ReadOnlySpan {
	var batch []sdktrace.ReadOnlySpan
	select {
	case s := <-q.waiting:
		batch = append(batch, s)
	case <-q.closing:
		return q.drain(nil)
	}

	delay := time.NewTimer(batchDelay)
	defer delay.Stop()
	for len(batch) < batchSize {
		select {
		case s := <-q.waiting:
			batch = append(batch, s)
		case <-delay.C:
			return batch
		case <-q.closing:
			return q.drain(batch)
		}
	}
	return batch
}

// drain fills a batch with what waits.
func (q *queue) drain(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	for len(batch) < batchSize {
		select {
		case s := <-q.waiting:
			batch = append(batch, s)
		default:
			return batch
		}
	}
	return batch
}

// send sends a batch, repeatedly if that fails, and counts it. The first failure and the first success
// after it are logged.
func (q *queue) send(batch []sdktrace.ReadOnlySpan, failing *bool) {
	for try := 1; ; try++ {
		err := q.exporter.ExportSpans(q.ending, batch)
		if err == nil {
			q.sent.Add(uint64(len(batch)))
			if *failing {
				q.log.Info("traces are sent again", "dropped", q.dropped.Load())
			}
			*failing = false
			return
		}
		if !*failing {
			q.log.Warn("cannot send traces, dropping what exceeds the queue", "error", err)
		}
		*failing = true
		if try == maxTries || !q.pause() {
			q.dropped.Add(uint64(len(batch)))
			return
		}
	}
}

// pause waits before the next attempt. It returns false if there must be none.
func (q *queue) pause() bool {
	if q.closed.Load() {
		return false
	}
	delay := time.NewTimer(retryDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
		return true
	case <-q.closing:
		return true // the last attempt
	}
}
