package metrics

import (
	"strings"
	"sync"
	"time"
)

// Times counts events and their duration by labels. The zero value is empty. It is safe for
// concurrent use.
type Times struct {
	mu  sync.Mutex
	all map[string]*duration
}

type duration struct {
	Distribution
	labels []string
}

// Outcome returns the label of an outcome: ok or error.
func Outcome(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// Add counts an event. Labels must come from a bounded set; more than MaxSamples are added up.
func (t *Times) Add(took time.Duration, labels ...string) {
	key := strings.Join(labels, "\xff")
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.all[key]
	if d == nil && len(t.all) >= MaxSamples {
		labels = []string{Other}
		key = Other
		d = t.all[key]
	}
	if d == nil {
		if t.all == nil {
			t.all = map[string]*duration{}
		}
		d = &duration{labels: append([]string(nil), labels...)}
		t.all[key] = d
	}
	d.Distribution.Add(took)
}

// Measure adds the events to a summary or histogram whose first labels have the given values.
func (t *Times) Measure(s *Set, name string, first ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.all {
		labels := append(append([]string(nil), first...), d.labels...)
		if i, ok := s.known[name]; ok {
			for len(labels) < len(s.measured[i].Labels) {
				labels = append(labels, Other)
			}
		}
		s.AddDistribution(name, d.Distribution, labels...)
	}
}
