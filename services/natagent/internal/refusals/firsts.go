package refusals

import "time"

// Limits of firsts. A container that scans ports makes a refusal of a new kind with each packet.
const (
	maxKinds  = 4096
	maxFirsts = 60 // of one container in a period
	period    = time.Minute
)

// kind distinguishes refusals of a container.
type kind struct {
	owner, reason, rule, protocol, peer string
	port                                uint16
	incoming                            bool
}

// kindOf returns the kind of a refusal. Addresses of one name are one destination.
func kindOf(r Refusal) kind {
	k := kind{r.Owner, r.Reason, r.Rule, r.Protocol, r.Domain, r.Port, r.Incoming}
	if k.peer == "" {
		k.peer = r.Address.String()
	}
	return k
}

// firsts finds the first refusal of each kind. Its memory is bounded: the oldest kinds are forgotten.
type firsts struct {
	known map[kind]bool
	order []kind // oldest first
	rates map[string]rate
}

// rate is the number of first refusals of a container since a time.
type rate struct {
	since time.Time
	n     int
}

// isFirst reports whether a refusal is the first of its kind, unless its container had too many already in
// this period.
func (f *firsts) isFirst(r Refusal) bool {
	k := kindOf(r)
	if r.IsObserved() || f.known[k] || !f.count(r) {
		return false
	}
	if f.known == nil {
		f.known = map[kind]bool{}
	}
	if len(f.order) == maxKinds {
		for _, old := range f.order[:maxKinds/2] {
			delete(f.known, old)
		}
		f.order = append(f.order[:0:0], f.order[maxKinds/2:]...)
	}
	f.known[k] = true
	f.order = append(f.order, k)
	return true
}

// count counts a first refusal of a container. ok is false if it had too many.
func (f *firsts) count(r Refusal) (ok bool) {
	if f.rates == nil || len(f.rates) > maxKinds {
		f.rates = map[string]rate{}
	}
	one := f.rates[r.Owner]
	if r.Time.Sub(one.since) >= period {
		one = rate{since: r.Time}
	}
	one.n++
	f.rates[r.Owner] = one
	return one.n <= maxFirsts
}
