package zone

import (
	"maps"
	"strings"
)

// Host is another host of the fleet.
type Host struct {
	ID, Name string
	Suspect  bool // its lease expired
}

// Remote holds the names of a container of another host on one network.
type Remote struct {
	Host, Owner string
	Member
}

// RemoteKey identifies a remote container on one network.
type RemoteKey struct{ Host, Network, Owner string }

func (k RemoteKey) owner() string { return k.Host + "/" + k.Network + "/" + k.Owner }

// RemoteChange is a change of what is known about other hosts.
type RemoteChange struct {
	Reset        bool   // everything that was known before is removed first
	Node         string // name of this host in the fleet; empty means unchanged, or none with Reset
	RemovedHosts []string
	Hosts        []Host
	Removed      []RemoteKey
	Remotes      []Remote
}

// Ranks of answers.
const (
	ownRank = iota
	remoteRank
	lastRank // of lost hosts
)

// rank returns the place of a host's addresses in a response.
func (s *snapshot) rank(host string) int {
	if host == "" {
		return ownRank
	}
	if h, known := s.hosts[host]; known && !h.Suspect {
		return remoteRank
	}
	return lastRank
}

func anyHost(string) bool { return true }

// splitHost divides a name into the part before its last label and the hosts with that label as
// name. It returns nil if there is none.
func (s *snapshot) splitHost(name string) (bare string, on func(host string) bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, nil
	}
	bare, label := name[:i], name[i+1:]
	if label == s.node {
		return bare, func(host string) bool { return host == "" }
	}
	for id, h := range s.hosts {
		if h.Name == label {
			return bare, func(host string) bool { return host == id }
		}
	}
	return bare, nil
}

// ApplyRemote changes what is known about other hosts, in one step for all lookups.
func (z *Zone) ApplyRemote(c RemoteChange) {
	z.write.Lock()
	defer z.write.Unlock()
	next := *z.snapshot()
	e := next.edit()
	if c.Reset {
		for owner := range z.remote {
			e.drop(owner)
		}
		z.remote, next.hosts, next.node = nil, nil, ""
	}
	if c.Node != "" {
		next.node = lowerASCII(c.Node)
	}
	if len(c.Hosts)+len(c.RemovedHosts) > 0 {
		next.hosts = maps.Clone(next.hosts)
		if next.hosts == nil {
			next.hosts = map[string]Host{}
		}
	}
	for _, id := range c.RemovedHosts {
		delete(next.hosts, id)
		for owner := range z.remote {
			if strings.HasPrefix(owner, id+"/") {
				e.drop(owner)
				delete(z.remote, owner)
			}
		}
	}
	for _, h := range c.Hosts {
		h.Name = lowerASCII(h.Name)
		next.hosts[h.ID] = h
	}
	z.applyRemotes(e, c)
	z.now.Store(e.done(next))
}

// applyRemotes removes and adds remote containers. write must be held.
func (z *Zone) applyRemotes(e edits, c RemoteChange) {
	for _, k := range c.Removed {
		e.drop(k.owner())
		delete(z.remote, k.owner())
	}
	for _, r := range c.Remotes {
		owner := RemoteKey{r.Host, r.Network, r.Owner}.owner()
		e.drop(owner)
		e.add(folded(Container{Owner: owner, host: r.Host, Members: []Member{r.Member}}))
		if z.remote == nil {
			z.remote = map[string]bool{}
		}
		z.remote[owner] = true
	}
}

// drop removes a container if it exists.
func (e edits) drop(owner string) {
	if c, exists := e.containers.get(owner); exists {
		e.remove(c)
	}
}
