package run

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/httpserver"
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	"github.com/fairlead/fairlead/proto/version"
)

const (
	scrapeTime  = 2 * time.Second // for the answers of all services
	scrapeLimit = 4               // concurrent requests
)

// Families returns the metrics of the agent itself.
func Families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_service_up", Kind: metrics.Gauge, Labels: []string{"service"},
			Help: "1 if a service returned its metrics, 0 if not."},
		{Name: "fairlead_build_info", Kind: metrics.Gauge, Labels: []string{"version", "go_version"},
			Help: "Version of the agent; always 1."},
		{Name: "fairlead_rpc_duration_seconds", Kind: metrics.Summary, Labels: []string{"server", "method", "code"},
			Help: "Time of finished calls, by socket, method and status code."},
		{Name: "fairlead_store_commit_seconds", Kind: metrics.Summary, Labels: []string{"service", "outcome"},
			Help: "Time to store a change on disk; outcome is ok or error."},
		{Name: "fairlead_trace_spans_total", Kind: metrics.Counter, Labels: []string{"process", "outcome"},
			Help: "Spans of traces that the collector has accepted (sent), and others (dropped)."},
		{Name: "fairlead_process_resident_memory_bytes", Kind: metrics.Gauge, Labels: []string{"process"},
			Help: "Resident memory of the process."},
		{Name: "fairlead_process_cpu_seconds_total", Kind: metrics.Counter, Labels: []string{"process"},
			Help: "CPU time of the process."},
		{Name: "fairlead_process_goroutines", Kind: metrics.Gauge, Labels: []string{"process"},
			Help: "Goroutines of the process."},
	}
}

// metricsServer implements fairlead.agent.v1.MetricsService for one service.
type metricsServer struct {
	agentv1.UnimplementedMetricsServiceServer
	agent *agent
	*member
}

// CollectMetrics implements MetricsServiceServer. The first service of a process also returns the
// metrics of the process.
func (s metricsServer) CollectMetrics(ctx context.Context,
	_ *agentv1.CollectMetricsRequest) (*agentv1.CollectMetricsResponse, error) {
	set := metrics.NewSet(append(Families(), s.Metrics...))
	if m, ok := s.service.(service.Measurer); ok {
		m.Measure(ctx, set)
	}
	s.grpc.Times().Measure(set, "fairlead_rpc_duration_seconds", s.Name)
	s.agent.config.commits[s.Name].Measure(set, "fairlead_store_commit_seconds", s.Name)
	if s.agent.members[0] == s.member {
		measureProcess(set, s.agent.config.options.Name)
		s.agent.measureTraces(set)
		if s.agent.publicGRPC != nil {
			s.agent.publicGRPC.Times().Measure(set, "fairlead_rpc_duration_seconds", "public")
		}
	}
	if err := set.Err(); err != nil {
		return nil, fault.New(fault.Internal, "service "+s.Name, err.Error())
	}
	return metricsToProto(set.Measured()), nil
}

func measureProcess(set *metrics.Set, name string) {
	set.Add("fairlead_build_info", 1, version.Version, runtime.Version())
	set.Add("fairlead_process_goroutines", float64(runtime.NumGoroutine()), name)
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		set.Add("fairlead_process_cpu_seconds_total",
			time.Duration(used.Utime.Nano()+used.Stime.Nano()).Seconds(), name)
	}
	if resident, ok := residentMemory(); ok {
		set.Add("fairlead_process_resident_memory_bytes", resident, name)
	}
}

// measureTraces adds the spans of the process, if it sends them.
func (a *agent) measureTraces(set *metrics.Set) {
	if a.tracer == nil {
		return
	}
	sent, dropped := a.tracer.Counts()
	set.Add("fairlead_trace_spans_total", float64(sent), a.config.options.Name, "sent")
	set.Add("fairlead_trace_spans_total", float64(dropped), a.config.options.Name, "dropped")
}

// residentMemory returns the present resident memory of the process in bytes.
func residentMemory() (bytes float64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err == nil
}

func metricsToProto(all []metrics.Measured) *agentv1.CollectMetricsResponse {
	resp := &agentv1.CollectMetricsResponse{}
	for _, m := range all {
		f := &agentv1.MetricFamily{Name: m.Name, Kind: string(m.Kind), Help: m.Help, Labels: m.Labels}
		for _, s := range m.Samples {
			f.Samples = append(f.Samples, &agentv1.MetricSample{Labels: s.Labels, Value: s.Value, Count: s.Count,
				Buckets: s.Buckets})
		}
		if len(f.Samples) > 0 {
			resp.Families = append(resp.Families, f)
		}
	}
	return resp
}

func metricsFromProto(resp *agentv1.CollectMetricsResponse) (all []metrics.Measured) {
	for _, f := range resp.GetFamilies() {
		m := metrics.Measured{Family: metrics.Family{Name: f.GetName(), Kind: metrics.Kind(f.GetKind()),
			Help: f.GetHelp(), Labels: f.GetLabels()}}
		for _, s := range f.GetSamples() {
			m.Samples = append(m.Samples, metrics.Sample{Labels: s.GetLabels(), Value: s.GetValue(),
				Count: s.GetCount(), Buckets: s.GetBuckets()})
		}
		all = append(all, m)
	}
	return all
}

// collectMetrics returns the metrics of all services of the host. Services that do not respond are
// reported as such.
func (a *agent) collectMetrics(ctx context.Context) []metrics.Measured {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	up := metrics.NewSet(Families())
	var mu sync.Mutex
	var all []metrics.Measured
	var asked sync.WaitGroup
	for _, s := range a.config.options.All {
		asked.Go(func() {
			resp, err := agentv1.NewMetricsServiceClient(a.config.peers.Conn(s.Name)).CollectMetrics(ctx,
				&agentv1.CollectMetricsRequest{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				a.log.Debug("service returned no metrics", "service", s.Name, "error", err)
				up.Add("fairlead_service_up", 0, s.Name)
				return
			}
			up.Add("fairlead_service_up", 1, s.Name)
			all = append(all, metricsFromProto(resp)...)
		})
	}
	asked.Wait()
	return append(all, up.Measured()...)
}

// listenMetrics opens the socket of metrics-address, if it is configured.
func (a *agent) listenMetrics(ctx context.Context, o Options) error {
	if o.Config.MetricsAddress == (config.Host{}) {
		return nil
	}
	owners, err := listen.PublicAccess(o.Config.Group)
	if err != nil {
		return err
	}
	listeners, err := open(ctx, o.Log, []config.Host{o.Config.MetricsAddress}, owners, nil)
	if err != nil {
		return err
	}

	secured := a.tls.Load
	if o.Config.MetricsAddress.Loopback() {
		secured = nil
	}
	a.metrics = &socket{"metrics", httpserver.NewPlain(o.Log, secured, a.metricsHandler()), listeners}
	return nil
}

// metricsHandler serves /metrics.
func (a *agent) metricsHandler() http.Handler {
	slots := make(chan struct{}, scrapeLimit)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}

		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, "too many requests for metrics", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", metrics.ContentType)
		_ = metrics.Write(w, a.collectMetrics(r.Context())) // the client is gone
	})
}
