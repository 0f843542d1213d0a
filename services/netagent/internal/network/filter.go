package network

import (
	"strings"
	"time"
)

// Filter says which networks are meant: those that fit everything that is given.
type Filter struct {
	Before  time.Time // made before it; the zero time means whenever
	Labels  []string  // each KEY or KEY=VALUE
	Without []string  // no label of these
}

// Fits tells whether a network is meant.
func (s Filter) Fits(n Network) bool {
	if !s.Before.IsZero() && !n.CreatedAt.Before(s.Before) {
		return false
	}
	for _, spec := range s.Labels {
		if !n.labelled(spec) {
			return false
		}
	}
	for _, spec := range s.Without {
		if n.labelled(spec) {
			return false
		}
	}
	return true
}

func (n *Network) labelled(spec string) bool {
	key, want, valued := strings.Cut(spec, "=")
	got, ok := n.Labels[key]
	return ok && (!valued || got == want)
}
