package run

import (
	"reflect"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
)

func TestMetricsSurviveTransport(t *testing.T) {
	set := metrics.NewSet([]metrics.Family{
		{Name: "fairlead_a_total", Kind: metrics.Counter, Help: "A.", Labels: []string{"x"}},
		{Name: "fairlead_b_seconds", Kind: metrics.Histogram, Help: "B.", Labels: []string{"y"}},
	})
	set.Add("fairlead_a_total", 3, "one")
	var d metrics.Distribution
	d.Add(time.Millisecond)
	d.Add(time.Minute)
	set.AddDistribution("fairlead_b_seconds", d, "two")
	if got := metricsFromProto(metricsToProto(set.Measured())); !reflect.DeepEqual(got, set.Measured()) {
		t.Errorf("got  %+v\nwant %+v", got, set.Measured())
	}
}
