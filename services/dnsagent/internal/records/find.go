package records

import (
	"strings"

	"github.com/fairlead/fairlead/proto/dnsrecord"
)

// Find returns the records of a name as a container on some networks sees them: those of the first
// network that has the name, else those of all containers. It returns nil for other names.
//
// Of one network, a name itself precedes wildcards, and then an added record one of the configuration
// file.
func (r *Records) Find(networks []string, name string) []dnsrecord.Entry {
	s := r.now.Load()
	name = canonical(name)
	for _, network := range networks {
		if found := s.find(network, name); found != nil {
			return found
		}
	}
	return s.find("", name)
}

func (s *snapshot) find(network, name string) []dnsrecord.Entry {
	added, fixed := s.added.Find(network, name), s.fixed.Find(network, name)
	if specificity(fixed, name) > specificity(added, name) {
		return fixed
	}
	return added
}

// specificity orders the records that match a name: the name itself, then the longest wildcard.
func specificity(found []dnsrecord.Entry, name string) int {
	switch {
	case len(found) == 0:
		return -1
	case found[0].Record.Name == name:
		return len(name) + 1
	}
	return len(found[0].Record.Name)
}

// Forward returns the forward of the nearest domain of a name as a container on some networks sees it.
// Those of all containers need external, since a container on internal networks only must not reach
// the servers of the host.
func (r *Records) Forward(networks []string, external bool, name string) (dnsrecord.Forward, bool) {
	s := r.now.Load()
	name = canonical(name)
	for _, network := range networks {
		if f, ok := s.forward(network, name); ok {
			return f, true
		}
	}
	if !external {
		return dnsrecord.Forward{}, false
	}
	return s.forward("", name)
}

func (s *snapshot) forward(network, name string) (dnsrecord.Forward, bool) {
	added, ok := s.addedFwd.Find(network, name)
	fixed, fixedOK := s.fixedFwd.Find(network, name)
	if fixedOK && (!ok || depth(fixed.Domain) > depth(added.Domain)) {
		return fixed, true
	}
	return added, ok
}

// depth returns the number of labels of a domain.
func depth(domain string) int {
	if domain == "." {
		return 0
	}
	return strings.Count(domain, ".") + 1
}

// canonical returns a name in lower case without the final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
