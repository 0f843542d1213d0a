package records

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
)

// AddForward adds the servers of a forward, and returns all of the domain.
func (r *Records) AddForward(f dnsrecord.Forward) (dnsrecord.Forward, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.store.Forwards()
	if before, known := find(all, f.Network, f.Domain); known {
		var err error
		if f, err = before.With(texts(f.Servers)); err != nil {
			return dnsrecord.Forward{}, err
		}
	} else if len(all) >= dnsrecord.MaxForwards {
		return dnsrecord.Forward{}, fault.New(fault.Exhausted, f.Subject(), "there are too many forwards")
	}
	if err := r.store.PutForward(f); err != nil {
		return dnsrecord.Forward{}, err
	}
	r.reload()
	return f, nil
}

func texts(servers []dnsrecord.Server) (all []string) {
	for _, s := range servers {
		all = append(all, s.String())
	}
	return all
}

func find(all []dnsrecord.Forward, network, domain string) (dnsrecord.Forward, bool) {
	i := slices.IndexFunc(all, func(f dnsrecord.Forward) bool { return f.Network == network && f.Domain == domain })
	if i < 0 {
		return dnsrecord.Forward{}, false
	}
	return all[i], true
}

// RemoveForward removes servers of a domain, or without servers all.
func (r *Records) RemoveForward(network, domain string, servers []dnsrecord.Server) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, known := find(r.store.Forwards(), network, domain)
	if !known {
		_, configured := find(r.now.Load().configured.Forwards, network, domain)
		return missing(dnsrecord.Forward{Domain: domain}.Subject(), configured)
	}

	left := []dnsrecord.Server{}
	if len(servers) > 0 {
		left = slices.Clone(f.Servers)
	}
	for _, s := range servers {
		i := slices.Index(left, s)
		if i < 0 {
			return fault.NotFoundf(f.Subject(), "has no server %s", s)
		}
		left = slices.Delete(left, i, i+1)
	}
	f.Servers = left
	if err := r.store.PutForward(f); err != nil {
		return err
	}
	r.reload()
	return nil
}

// ListedForward is a forward with its origin.
type ListedForward struct {
	dnsrecord.Forward
	Configured bool
}

// ListForwards returns all forwards, or those of one network, sorted by network and domain.
func (r *Records) ListForwards(network string) (all []ListedForward) {
	add := func(forwards []dnsrecord.Forward, configured bool) {
		for _, one := range forwards {
			if network == "" || one.Network == network {
				all = append(all, ListedForward{one, configured})
			}
		}
	}
	add(r.store.Forwards(), false)
	add(r.now.Load().configured.Forwards, true)
	slices.SortStableFunc(all, func(a, b ListedForward) int { return strings.Compare(a.Key(), b.Key()) })
	return all
}

// Key returns the position in a list.
func (l ListedForward) Key() string {
	return strings.Join([]string{l.Network, l.Domain, origin(l.Configured)}, "\n")
}
