// Package measure has the metrics of the supervisor.
package measure

import (
	"context"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
)

// Families returns the metrics.
func Families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_containers", Kind: metrics.Gauge, Labels: []string{"status"},
			Help: "Containers."},
		{Name: "fairlead_images", Kind: metrics.Gauge,
			Help: "Images."},
		{Name: "fairlead_launch_seconds", Kind: metrics.Histogram, Labels: []string{"outcome"},
			Help: "Time to start a container; outcome is ok or error."},
		{Name: "fairlead_launch_step_seconds", Kind: metrics.Histogram, Labels: []string{"step", "outcome"},
			Help: "Time of a step of a launch. Steps run concurrently where they can."},
	}
}

// Meter measures.
type Meter struct {
	Containers func() []*container.Container
	Images     func() int
	Launches   *launch.Times
}

// Measure implements agent/service.Measurer.
func (m Meter) Measure(_ context.Context, set *metrics.Set) {
	for _, c := range m.Containers() {
		set.Add("fairlead_containers", 1, string(c.Status))
	}
	set.Add("fairlead_images", float64(m.Images()))
	m.Launches.All.Measure(set, "fairlead_launch_seconds")
	m.Launches.Steps.Measure(set, "fairlead_launch_step_seconds")
}
