// Package metrics holds measurements of services, and writes them in the text format of Prometheus.
//
// A service declares its families and adds samples when they are read. The number of samples of a
// family is bounded. Package run collects the samples of all services.
package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is the type of a family.
type Kind string

// The kinds.
const (
	Counter Kind = "counter" // only grows while the process runs
	Gauge   Kind = "gauge"
	Summary Kind = "summary" // a number of events and the sum of their sizes
	// Histogram is a summary of durations with the numbers of events up to some bounds.
	Histogram Kind = "histogram"
)

// MaxSamples bounds the samples of a family. More are added up in one, with Other as labels.
const MaxSamples = 2000

// maxSamples returns the limit of a kind. A sample of a histogram has a series for each bucket.
func (k Kind) maxSamples() int {
	if k == Histogram {
		return MaxSamples / (maxBuckets + 3)
	}
	return MaxSamples
}

// Other is the label of all samples beyond MaxSamples.
const Other = "other"

// Family is a metric with its labels.
type Family struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []string // names
}

// Sample is a value of a family.
type Sample struct {
	Labels []string // values
	Value  float64  // of a Summary or Histogram: the sum
	Count  uint64   // of a Summary or Histogram
	// Buckets of a Histogram are the numbers of events up to each bound, without those of smaller ones.
	Buckets []uint64
}

// Measured is a family with samples.
type Measured struct {
	Family
	Samples []Sample
}

// Set collects samples of some families. It is not safe for concurrent use.
type Set struct {
	measured []Measured
	known    map[string]int            // index by name
	places   map[string]map[string]int // index of a sample by family and labels
	errors   []string
}

// NewSet returns a set for samples of families.
func NewSet(families []Family) *Set {
	s := &Set{known: map[string]int{}, places: map[string]map[string]int{}}
	for i, f := range families {
		s.measured = append(s.measured, Measured{Family: f})
		s.known[f.Name], s.places[f.Name] = i, map[string]int{}
	}
	return s
}

// Add adds a value to the sample with the given label values.
func (s *Set) Add(name string, value float64, labels ...string) {
	s.add(name, func(_ Kind, sample *Sample) { sample.Value += value }, labels)
}

// AddDistribution adds events to the summary or histogram with the given label values.
func (s *Set) AddDistribution(name string, d Distribution, labels ...string) {
	s.add(name, func(k Kind, sample *Sample) { d.addTo(sample, k == Histogram) }, labels)
}

// add calls change with the sample that has the given label values.
func (s *Set) add(name string, change func(Kind, *Sample), labels []string) {
	i, ok := s.known[name]
	if !ok || len(labels) != len(s.measured[i].Labels) {
		s.errors = append(s.errors, fmt.Sprintf("%s with %d labels is not declared", name, len(labels)))
		return
	}

	m, places := &s.measured[i], s.places[name]
	key := strings.Join(labels, "\xff")
	at, present := places[key]
	if !present && len(m.Samples) >= m.Kind.maxSamples()-1 {
		labels = slices.Repeat([]string{Other}, len(labels))
		key = strings.Join(labels, "\xff")
		at, present = places[key]
	}
	if !present {
		at = len(m.Samples)
		places[key] = at
		m.Samples = append(m.Samples, Sample{Labels: slices.Clone(labels)})
	}
	change(m.Kind, &m.Samples[at])
}

// Measured returns the families with their samples, in the order of their declaration.
func (s *Set) Measured() []Measured { return s.measured }

// Err returns the samples that no family was declared for. They are lost.
func (s *Set) Err() error {
	if len(s.errors) == 0 {
		return nil
	}
	return fmt.Errorf("metrics: %s", strings.Join(s.errors, "; "))
}
