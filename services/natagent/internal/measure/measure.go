// Package measure has the metrics of natagent.
package measure

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent/internal/egress"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
	"github.com/fairlead/fairlead/services/natagent/internal/reconcile"
)

// Families returns the metrics.
func Families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_published_ports", Kind: metrics.Gauge, Labels: []string{"protocol"},
			Help: "Port bindings in effect. A range or an address is one."},
		{Name: "fairlead_publish_seconds", Kind: metrics.Histogram, Labels: []string{"outcome"},
			Help: "Time to publish the ports of a container; outcome is ok or error."},
		{Name: "fairlead_firewall_reconciles_total", Kind: metrics.Counter, Labels: []string{"outcome"},
			Help: "Comparisons of the firewall with the store: unchanged, changed (something was missing or too " +
				"much), rebuilt (rules were written) or error."},
		{Name: "fairlead_firewall_external_changes_total", Kind: metrics.Counter,
			Help: "Changes of our rules by other programs, which were restored."},
		{Name: "fairlead_conntrack_entries", Kind: metrics.Gauge,
			Help: "Connections that the kernel tracks, of the host and of containers."},
		{Name: "fairlead_conntrack_limit", Kind: metrics.Gauge,
			Help: "Largest number of connections that the kernel tracks."},
		{Name: "fairlead_egress_policies", Kind: metrics.Gauge,
			Help: "Running containers with an egress policy."},
		{Name: "fairlead_egress_allowed_connections_total", Kind: metrics.Counter, Labels: []string{"container"},
			Help: "Packets of new connections that the present policy of a container allowed."},
		{Name: "fairlead_egress_refused_packets_total", Kind: metrics.Counter, Labels: []string{"container"},
			Help: "Packets that the present policy of a container refused."},
		{Name: "fairlead_egress_records_total", Kind: metrics.Counter, Labels: []string{"reason"},
			Help: "Recorded refusals, and with observe recorded connections."},
		{Name: "fairlead_egress_records_lost_total", Kind: metrics.Counter,
			Help: "Times that the kernel dropped records because there were too many."},
		{Name: "fairlead_egress_restores_total", Kind: metrics.Counter,
			Help: "Times that tables of policies were written again after changes by other programs."},
	}
}

// Meter measures.
type Meter struct {
	Publications func() []*publication.Publication
	Policies     interface {
		Counts() (egress.Counts, error)
	}
	Reconciler interface {
		ExternalChanges() reconcile.ExternalChanges
		Outcomes() map[string]uint64
	}
	Publishes *metrics.Times
	Log       *slog.Logger
	Proc      string // directory of nf_conntrack_count and nf_conntrack_max
}

// Measure implements agent/service.Measurer.
func (m Meter) Measure(_ context.Context, set *metrics.Set) {
	for _, p := range m.Publications() {
		for _, b := range p.Bindings {
			set.Add("fairlead_published_ports", 1, string(b.Protocol))
		}
	}
	m.Publishes.Measure(set, "fairlead_publish_seconds")
	for outcome, n := range m.Reconciler.Outcomes() {
		set.Add("fairlead_firewall_reconciles_total", float64(n), outcome)
	}
	set.Add("fairlead_firewall_external_changes_total", float64(m.Reconciler.ExternalChanges().Times))
	m.number(set, "fairlead_conntrack_entries", "nf_conntrack_count")
	m.number(set, "fairlead_conntrack_limit", "nf_conntrack_max")
	m.policies(set)
}

// policies adds the counters of egress policies. Those of containers that the kernel does not return are
// missing.
func (m Meter) policies(set *metrics.Set) {
	counts, err := m.Policies.Counts()
	if err != nil {
		m.Log.Warn("counters of egress policies are missing", "error", err)
	}
	set.Add("fairlead_egress_policies", float64(counts.Policies))
	set.Add("fairlead_egress_records_lost_total", float64(counts.Lost))
	set.Add("fairlead_egress_restores_total", float64(counts.Restores))
	for reason, n := range counts.Records {
		set.Add("fairlead_egress_records_total", float64(n), reason)
	}
	for _, c := range counts.Containers {
		name := c.Name
		if name == "" {
			name = id.Short(c.Owner)
		}
		set.Add("fairlead_egress_allowed_connections_total", float64(c.Allowed), name)
		set.Add("fairlead_egress_refused_packets_total", float64(c.Refused), name)
	}
}

// number adds the number in a file of Proc.
func (m Meter) number(set *metrics.Set, name, file string) {
	text, err := os.ReadFile(m.Proc + "/" + file)
	if err != nil {
		return // the module is not loaded yet
	}
	if n, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil {
		set.Add(name, n)
	}
}
