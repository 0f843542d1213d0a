// Package measure has the metrics of dnsagent.
package measure

import (
	"context"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/querylog"
)

// Families returns the metrics.
func Families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_dns_questions_total", Kind: metrics.Counter, Labels: []string{"source", "code"},
			Help: "Answered questions of containers, by the source of the answer and its code."},
		{Name: "fairlead_dns_upstream_seconds", Kind: metrics.Histogram, Labels: []string{"server"},
			Help: "Time until the answer of an upstream name server."},
		{Name: "fairlead_dns_upstream_failures_total", Kind: metrics.Counter, Labels: []string{"server"},
			Help: "Questions that an upstream name server did not answer."},
		{Name: "fairlead_dns_resolvers", Kind: metrics.Gauge,
			Help: "Containers with an embedded resolver."},
	}
}

// Meter measures.
type Meter struct {
	Queries   *querylog.Log
	Resolvers func() []string // owners
}

// Measure implements agent/service.Measurer.
func (m Meter) Measure(_ context.Context, set *metrics.Set) {
	answers, servers := m.Queries.Counts()
	for kind, n := range answers {
		set.Add("fairlead_dns_questions_total", float64(n), kind.Source, kind.Code)
	}
	for server, u := range servers {
		name := metrics.Other
		if server.IsValid() {
			name = server.String()
		}
		set.AddDistribution("fairlead_dns_upstream_seconds", u.Answers, name)
		set.Add("fairlead_dns_upstream_failures_total", float64(u.Failures), name)
	}
	set.Add("fairlead_dns_resolvers", float64(len(m.Resolvers())))
}
