package measure_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/measure"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
)

type policies struct{}

func (policies) Counts() (egress.Counts, error) {
	return egress.Counts{Policies: 2, Containers: []egress.ContainerCount{{Name: "box", Refused: 3}}},
		errors.New("counters of another container")
}

type reconciler struct{}

func (reconciler) ExternalChanges() reconcile.ExternalChanges { return reconcile.ExternalChanges{} }
func (reconciler) Outcomes() map[string]uint64                { return nil }

func TestOneContainerWithoutCounters(t *testing.T) {
	set := metrics.NewSet(measure.Families())
	measure.Meter{Publishes: &metrics.Times{}, Publications: func() []*publication.Publication { return nil },
		Policies:   policies{},
		Reconciler: reconciler{}, Log: slog.New(slog.DiscardHandler), Proc: t.TempDir()}.Measure(t.Context(), set)
	for _, m := range set.Measured() {
		if m.Name == "fairlead_egress_refused_packets_total" && len(m.Samples) == 1 && m.Samples[0].Value == 3 {
			return
		}
	}
	t.Errorf("counters of the other containers are missing: %v", set.Measured())
}
