package metrics

import "time"

// maxBuckets is the number of upper bounds of a histogram.
const maxBuckets = 14

// bounds returns the upper bounds of the buckets of all histograms in seconds, from the time of a
// transaction of the firewall to that of a launch that waits.
func bounds() [maxBuckets]float64 {
	return [maxBuckets]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// Distribution counts events by their duration. The zero value is empty.
type Distribution struct {
	Count   uint64
	Sum     time.Duration
	Buckets [maxBuckets]uint64 // events up to each bound, without those of smaller bounds
}

// Add counts an event.
func (d *Distribution) Add(took time.Duration) {
	d.Count++
	d.Sum += took
	for i, bound := range bounds() {
		if took.Seconds() <= bound {
			d.Buckets[i]++
			return
		}
	}
}

// addTo adds a distribution to a sample.
func (d *Distribution) addTo(s *Sample, withBuckets bool) {
	s.Count += d.Count
	s.Value += d.Sum.Seconds()
	if !withBuckets {
		return
	}
	if s.Buckets == nil {
		s.Buckets = make([]uint64, maxBuckets)
	}
	for i, n := range d.Buckets {
		s.Buckets[i] += n
	}
}
