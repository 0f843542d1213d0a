package server

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/tracing"
)

// trace begins the span of a call. Calls between services are recorded within a trace only, and
// subscriptions not at all.
func (c *calls) trace(ctx context.Context, method string) (context.Context, tracing.Step) {
	if c.tracer == nil || auth.IsInfrastructure(method) || isWatch(method) {
		return ctx, tracing.Step{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	ctx, step := c.tracer.Request(ctx, tracing.Request{
		Name: strings.TrimPrefix(c.label(method), "/"), Inner: c.audience == auth.Peers,
		Get: func(key string) string { return strings.Join(md.Get(key), ",") },
	})
	if step.Recorded() {
		step.Set("rpc.system.name", "grpc")
		step.Set("rpc.method", c.label(method))
		step.Set("fairlead.server", c.name)
		step.Set("client.address", auth.IdentityOf(ctx).String())
	}
	return ctx, step
}

// endTrace ends the span of a call with the status that its client gets.
func endTrace(step tracing.Step, sent error) {
	if step.Recorded() {
		step.Set("rpc.response.status_code", status.Code(sent).String())
		step.End(sent)
	}
}

// isWatch reports whether a method is a subscription, which ends with its client.
func isWatch(method string) bool {
	return strings.HasPrefix(method[strings.LastIndexByte(method, '/')+1:], "Watch")
}
