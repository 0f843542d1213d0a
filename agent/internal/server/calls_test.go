package server

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
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
