package protoconv

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func healthCheckFromProto(in *containerv1.HealthCheck) *healthcheck.Check {
	if in == nil {
		return nil
	}
	return &healthcheck.Check{Test: in.GetTest(), Interval: in.GetInterval().AsDuration(),
		Timeout: in.GetTimeout().AsDuration(), StartPeriod: in.GetStartPeriod().AsDuration(),
		StartInterval: in.GetStartInterval().AsDuration(), Retries: int(min(in.GetRetries(), math.MaxInt32))}
}

func healthCheckToProto(h *healthcheck.Check) *containerv1.HealthCheck {
	if h == nil {
		return nil
	}
	return &containerv1.HealthCheck{Test: h.Test, Interval: durationToProto(h.Interval),
		Timeout: durationToProto(h.Timeout), StartPeriod: durationToProto(h.StartPeriod),
		StartInterval: durationToProto(h.StartInterval), Retries: uint32(h.Retries)}
}

// durationToProto converts a duration; zero becomes nil.
func durationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

var healthStatuses = map[string]containerv1.HealthStatus{
	healthcheck.Starting:  containerv1.HealthStatus_HEALTH_STATUS_STARTING,
	healthcheck.Healthy:   containerv1.HealthStatus_HEALTH_STATUS_HEALTHY,
	healthcheck.Unhealthy: containerv1.HealthStatus_HEALTH_STATUS_UNHEALTHY,
}

func healthToProto(h *healthcheck.Health) *containerv1.Health {
	if h == nil {
		return nil
	}
	out := &containerv1.Health{Status: healthStatuses[h.Status], FailingStreak: uint32(h.FailingStreak)}
	for _, r := range h.Log {
		out.Log = append(out.Log, &containerv1.HealthResult{Start: timeToProto(r.Start), End: timeToProto(r.End),
			ExitCode: int32(r.ExitCode), Output: r.Output})
	}
	return out
}
