// Package traces sends the spans of package tracing to an OpenTelemetry collector, with OTLP over gRPC.
// Spans wait in a queue of bounded size. They are dropped and counted if the collector does not accept
// them, and never delay a request.
//
// Package run creates one Tracer for a process.
package traces

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/version"
)

// Tracer records requests. A nil Tracer records nothing.
type Tracer struct {
	provider *sdktrace.TracerProvider
	queue    *queue
	conn     *grpc.ClientConn
}

// New returns a Tracer of a process that sends to a collector. The zero Collector returns nil. A
// collector that cannot be reached is no error.
func New(to config.Collector, process string, log *slog.Logger) (*Tracer, error) {
	if to == (config.Collector{}) {
		return nil, nil
	}
	encryption := insecure.NewCredentials()
	if to.TLS {
		encryption = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient(to.Target(), grpc.WithTransportCredentials(encryption), grpc.WithNoProxy())
	if err != nil {
		return nil, fault.New(fault.Invalid, "traces-endpoint", "cannot be used", fault.WithCause(err))
	}

	// The queue repeats what fails.
	exporter := otlptrace.NewUnstarted(otlptracegrpc.NewClient(otlptracegrpc.WithGRPCConn(conn),
		otlptracegrpc.WithTimeout(sendTimeout), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{})))
	if err := exporter.Start(context.Background()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}

	q := newQueue(exporter, log.With("collector", to.String()))
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q), sdktrace.WithResource(describe(process)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	return &Tracer{provider, q, conn}, nil
}

// describe returns the attributes of all spans of a process.
func describe(process string) *resource.Resource {
	attributes := []attribute.KeyValue{
		attribute.String("service.name", "fairlead"), attribute.String("service.version", version.Version),
		attribute.String("process.executable.name", process), attribute.Int("process.pid", os.Getpid()),
	}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, attribute.String("host.name", host))
	}
	return resource.NewSchemaless(attributes...)
}

// Request begins a request. It returns ctx itself if it is not recorded.
func (t *Tracer) Request(ctx context.Context, r tracing.Request) (context.Context, tracing.Step) {
	if t == nil {
		return ctx, tracing.Step{}
	}
	return tracing.BeginRequest(ctx, t.provider, r)
}

// With returns a context in which work without a request is recorded.
func (t *Tracer) With(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return tracing.WithProvider(ctx, t.provider)
}

// Counts returns how many spans the collector has accepted, and how many were dropped.
func (t *Tracer) Counts() (sent, dropped uint64) {
	if t == nil {
		return 0, 0
	}
	return t.queue.sent.Load(), t.queue.dropped.Load()
}

// Close sends what waits, within a short time, and closes the connection.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(t.provider.Shutdown(ctx), t.conn.Close())
}
