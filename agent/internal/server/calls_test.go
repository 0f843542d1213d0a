package server

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/fairlead/fairlead/agent/internal/auth"
	"github.com/fairlead/fairlead/agent/metrics"
)

func TestReadingCallsLoggedAtDebug(t *testing.T) {
	for method, want := range map[string]slog.Level{
		"/fairlead.container.v1.ContainerService/ListContainers": slog.LevelDebug,
		"/fairlead.container.v1.ContainerService/GetContainer":   slog.LevelDebug,
		"/fairlead.container.v1.ContainerService/ReadLogs":       slog.LevelDebug,
		"/fairlead.container.v1.ContainerService/WaitContainer":  slog.LevelDebug,
		"/fairlead.container.v1.ContainerService/WatchEvents":    slog.LevelDebug,
		"/fairlead.nat.v1.PublicationService/ExplainConnection":  slog.LevelDebug,
		"/fairlead.nat.v1.PublicationService/CheckHostFirewall":  slog.LevelDebug,
		"/fairlead.nat.v1.PolicyService/LearnAddresses":          slog.LevelDebug,
		"/fairlead.container.v1.ContainerService/RunContainer":   slog.LevelInfo,
		"/fairlead.agent.v1.ConfigService/ReloadConfig":          slog.LevelInfo,
		"/fairlead.container.v1.ContainerService/StopContainer":  slog.LevelInfo,
		"/grpc.health.v1.Health/Check":                           slog.LevelDebug,
	} {
		if got := levelOf(method, codes.OK); got != want {
			t.Errorf("%s: got level %s, want %s", method, got, want)
		}
	}
	if got := levelOf("/x.Y/GetZ", codes.Internal); got != slog.LevelError {
		t.Errorf("reading call with internal error: got level %s, want ERROR", got)
	}
}

// TestMetricsOfUnknownMethods checks that clients cannot add names to the metrics.
func TestMetricsOfUnknownMethods(t *testing.T) {
	const known = "fairlead.dns.v1.NameService/ListOwners"
	c := newCalls(Config{Name: "public", Log: slog.New(slog.DiscardHandler), Audience: auth.Admins})
	var err error
	if c.roles, err = auth.RolesOf([]string{"fairlead.dns.v1.NameService"}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"/" + known, "/fairlead.dns.v1.NameService/A1", "/any.Service/A2"} {
		_ = c.serve(t.Context(), method, func(context.Context) error { return nil })
	}

	const name = "calls"
	set := metrics.NewSet([]metrics.Family{{Name: name, Kind: metrics.Summary, Labels: []string{"method", "code"}}})
	c.times.Measure(set, name)
	var methods []string
	for _, s := range set.Measured()[0].Samples {
		methods = append(methods, s.Labels[0])
	}
	slices.Sort(methods)
	if want := []string{known, metrics.Other}; !slices.Equal(methods, want) {
		t.Errorf("got %q, want %q", methods, want)
	}
}
