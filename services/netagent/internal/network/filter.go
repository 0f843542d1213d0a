package network

import (
	"strings"
	"time"
)

// Filter selects the networks that match all of its conditions.
type Filter struct {
	Before  time.Time // created before; zero: any time
	Labels  []string  // required labels, each KEY or KEY=VALUE
	Without []string  // excluded labels
}

// Matches reports whether the network matches.
func (s Filter) Matches(n Network) bool {
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
	got, ok := n.Spec.Labels[key]
	return ok && (!valued || got == want)
}
