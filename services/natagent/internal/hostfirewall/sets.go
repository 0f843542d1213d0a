package hostfirewall

import (
	"bytes"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nflink"
)

// set is the elements of a set that stands in a rule, and cannot change but with it.
type set struct{ elements []member }

// member is a value of a set, or all from first to last. In a map it has a verdict.
type member struct {
	first, last []byte // last is nil: to the end
	code        int32
	chain       string
}

// nameless tells whether the kernel has made up a set's name, as it stands in a rule only.
func nameless(name string) bool {
	return strings.HasPrefix(name, "__set") || strings.HasPrefix(name, "__map")
}

// readSet reads such a set.
func readSet(link *nflink.Link, t *nftables.Table, name string) (*set, error) {
	kernel, err := link.GetSetByName(t, name)
	if err != nil {
		return nil, err
	}
	all, err := link.GetSetElements(kernel)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b nftables.SetElement) int { return bytes.Compare(a.Key, b.Key) })
	out := &set{}
	for i, e := range all {
		if e.IntervalEnd {
			continue
		}
		m := member{first: e.Key, last: e.Key}
		switch {
		case e.KeyEnd != nil:
			m.last = e.KeyEnd
		case kernel.Interval && i+1 < len(all):
			m.last = before(all[i+1].Key)
		case kernel.Interval:
			m.last = nil
		}
		if kernel.IsMap {
			if m.code, m.chain, err = nflink.Verdict(e.Val); err != nil {
				return nil, err
			}
		}
		out.elements = append(out.elements, m)
	}
	return out, nil
}

// before is the value right before another.
func before(v []byte) []byte {
	out := bytes.Clone(v)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]--; out[i] != 0xff {
			break
		}
	}
	return out
}

// has tells whether a value is the member's.
func (m member) has(v value) tristate {
	if !v.known || len(v.bytes) != len(m.first) {
		return maybe
	}
	return of(bytes.Compare(m.first, v.bytes) <= 0 && (m.last == nil || bytes.Compare(v.bytes, m.last) <= 0))
}

// has tells whether a value is in the set.
func (s *set) has(v value) tristate {
	best := no
	for _, m := range s.elements {
		best = max(best, m.has(v))
	}
	return best
}
