// Package tracing records the steps of a request as spans of OpenTelemetry. The agent begins a span for
// each request if a collector is configured; it is in the context of the request. Without it, all
// functions do nothing and allocate nothing.
//
// Servers and services use it. Package traces of the agent sends the spans.
package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead/fairlead/proto/faultrpc"
)

// scope is the name of the instrumentation.
const scope = "github.com/fairlead/fairlead"

// maxText is the maximum length of attributes and errors. Longer ones are cut.
const maxText = 1024

// Step is a step of a request, or the request itself. The zero Step is not recorded.
type Step struct{ span trace.Span }

// Start begins a step of the request of ctx. Calls with the returned context belong to the step. Nothing
// is recorded if the request is not.
func Start(ctx context.Context, name string) (context.Context, Step) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Step{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name)
	return ctx, Step{span}
}

// Run runs do as a step of the request of ctx.
func Run(ctx context.Context, name string, do func(context.Context) error) error {
	ctx, step := Start(ctx, name)
	err := do(ctx)
	step.End(err)
	return err
}

// Of returns the step or request that ctx belongs to.
func Of(ctx context.Context) Step {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return Step{}
	}
	return Step{span}
}

// Join returns ctx within the step or request that another context belongs to.
func Join(ctx, other context.Context) context.Context {
	span := trace.SpanFromContext(other)
	if !span.SpanContext().IsValid() {
		return ctx
	}
	return trace.ContextWithSpan(ctx, span)
}

// providerKey is the key of a context with a provider.
type providerKey struct{}

// WithProvider returns a context in which Begin records.
func WithProvider(ctx context.Context, p trace.TracerProvider) context.Context {
	return context.WithValue(ctx, providerKey{}, p)
}

// Begin begins work that no request may have asked for, such as a restart by policy. Within a request it
// is a step of it.
func Begin(ctx context.Context, name string) (context.Context, Step) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return Start(ctx, name)
	}
	p, ok := ctx.Value(providerKey{}).(trace.TracerProvider)
	if !ok {
		return ctx, Step{}
	}
	ctx, span := p.Tracer(scope).Start(ctx, name)
	return ctx, Step{span}
}

// Request describes a request that arrives.
type Request struct {
	Name string
	Get  func(key string) string // returns a value of its metadata, or nothing
	// Inner says that only requests that belong to a trace are recorded.
	Inner bool
}

// BeginRequest begins a request, which can belong to a trace of its client.
func BeginRequest(ctx context.Context, p trace.TracerProvider, r Request) (context.Context, Step) {
	ctx = propagation.TraceContext{}.Extract(ctx, carrier{get: r.Get})
	if r.Inner && !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, Step{}
	}
	ctx, span := p.Tracer(scope).Start(ctx, r.Name, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Step{span}
}

// Inject passes the trace of ctx to set as metadata of a call. It does nothing if there is none.
func Inject(ctx context.Context, set func(key, value string)) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		propagation.TraceContext{}.Inject(ctx, carrier{set: set})
	}
}

// Rename changes the name of a step.
func (s Step) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set adds an attribute to a step.
func (s Step) Set(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, clean(value)))
	}
}

// Fail marks a step as failed, unless err is nil.
func (s Step) Fail(err error) {
	if s.span != nil && err != nil {
		s.span.SetStatus(codes.Error, clean(faultrpc.FromStatus(err).Error()))
	}
}

// clean returns text that a message can hold, of limited length.
func clean(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "\uFFFD")
}

// End ends a step. It failed if err is not nil.
func (s Step) End(err error) {
	if s.span != nil {
		s.Fail(err)
		s.span.End()
	}
}

// Recorded reports whether a step is recorded.
func (s Step) Recorded() bool { return s.span != nil }

// carrier is metadata of a call. Only one function is needed in each direction.
type carrier struct {
	get func(key string) string
	set func(key, value string)
}

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string { return c.get(key) }

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { c.set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string { return nil }
