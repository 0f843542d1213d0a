// Package testcollector is an OpenTelemetry collector for tests: it receives spans with OTLP over gRPC on
// a Unix socket, and formats the traces as trees.
package testcollector

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Collector keeps the spans that it has received.
type Collector struct {
	tracepb.UnimplementedTraceServiceServer
	server *grpc.Server
	mu     sync.Mutex
	spans  []*spanpb.Span
}

// Start starts a collector on a Unix socket.
func Start(path string) (*Collector, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	c := &Collector{server: grpc.NewServer()}
	tracepb.RegisterTraceServiceServer(c.server, c)
	go func() { _ = c.server.Serve(l) }()
	return c, nil
}

// Stop stops the collector. Its spans are kept.
func (c *Collector) Stop() { c.server.Stop() }

// Export implements TraceServiceServer.
func (c *Collector) Export(_ context.Context, req *tracepb.ExportTraceServiceRequest) (
	*tracepb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

// Len returns how many spans were received.
func (c *Collector) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans)
}

// Trees formats all traces: a line for each span with its name and error, below its parent. A span whose
// parent is not received starts with a question mark.
func (c *Collector) Trees() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	children, known := map[string][]*spanpb.Span{}, map[string]bool{}
	for _, s := range c.spans {
		known[string(s.GetSpanId())] = true
	}
	var b strings.Builder
	var roots []*spanpb.Span
	for _, s := range c.spans {
		if parent := string(s.GetParentSpanId()); known[parent] {
			children[parent] = append(children[parent], s)
		} else {
			roots = append(roots, s)
		}
	}
	write(&b, children, roots, "")
	return b.String()
}

func write(b *strings.Builder, children map[string][]*spanpb.Span, spans []*spanpb.Span, indent string) {
	slices.SortFunc(spans, func(a, b *spanpb.Span) int {
		return cmp.Or(cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()),
			cmp.Compare(a.GetName(), b.GetName()))
	})
	for _, s := range spans {
		b.WriteString(indent)
		if indent == "" && len(s.GetParentSpanId()) > 0 {
			b.WriteString("? ")
		}
		b.WriteString(s.GetName())
		if s.GetStatus().GetCode() == spanpb.Status_STATUS_CODE_ERROR {
			fmt.Fprintf(b, " failed: %s", s.GetStatus().GetMessage())
		}
		b.WriteByte('\n')
		write(b, children, children[string(s.GetSpanId())], indent+"  ")
	}
}
