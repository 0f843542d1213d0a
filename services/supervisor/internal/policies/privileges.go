package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/policy"
)

// checkEndpoints rejects networks on which the rules of a container cannot be enforced. Those of macvlan and ipvlan are
// in the network namespace of the container, which no process in it must be able to change.
func (p *Policies) checkEndpoints(m policy.Member, sources []policy.Source) error {
	for _, e := range m.Endpoints {
		network := e.NetworkName + " of driver " + e.Driver
		switch {
		case e.Bridge != "" || e.Driver == "":
			continue
		case !policy.IsInside(e), policy.Merge(sources).Limits.IsLimited():
			return unenforceable(m, sources, network, "", "use a bridge network, or --egress all")
		case len(m.Privileges) > 0:
			return unenforceable(m, sources, network, ": the container has "+strings.Join(m.Privileges, " and ")+
				", with which it can avoid them", dropHint(m.Privileges))
		}
		for _, c := range p.joined(m.ID) {
			if has := policy.Privileges(&c.Config.Security); len(has) > 0 {
				return unenforceable(m, sources, network, ": "+c.Subject()+", which shares the network, has "+
					strings.Join(has, " and "), dropHint(has))
			}
		}
	}
	return nil
}

// checkNetworks rejects a network whose limits, or those of the configuration, cannot be enforced on it.
func checkNetworks(m policy.Member) error {
	limits := policy.LimitsByNetwork(m)
	for _, e := range m.Endpoints {
		if e.Bridge == "" && e.Driver != "" && slices.ContainsFunc(limits, func(l policy.NetworkLimits) bool {
			return l.NetworkID == e.NetworkID && l.Limits.IsLimited()
		}) {
			return fault.New(fault.Invalid, container.Subject(m.Name),
				fmt.Sprintf("connections and packets, which the "+
					"configuration limits, cannot be limited on network %s of driver %s", e.NetworkName, e.Driver),
				fault.WithField("limits"), fault.WithHint("use a bridge network, or lift the limits: "+
					"fairlead network update --max-connections 0 --packets none %s", e.NetworkName))
		}
	}
	return nil
}

func dropHint(privileges []string) string {
	var options []string
	for _, c := range privileges {
		options = append(options, "--cap-drop "+strings.TrimPrefix(c, "CAP_"))
	}
	return "create it without --privileged and with " + strings.Join(options, " ")
}

// joined returns the running containers that share the network namespace of another one.
func (p *Policies) joined(owner string) (all []*container.Container) {
	for _, c := range p.cfg.Store.ListContainers() {
		if c.IsRunning() && c.Live != nil && c.Live.SharedWith == owner {
			all = append(all, c)
		}
	}
	return all
}

// CheckPrivileges rejects a process in the network namespace of a running container that could change the rules which
// apply there. name is the process's container.
func (p *Policies) CheckPrivileges(owner, name string, s *container.Security) error {
	has := policy.Privileges(s)
	p.mu.Lock()
	m, known := p.members[owner]
	p.mu.Unlock()
	if len(has) == 0 || !known || !slices.ContainsFunc(m.Endpoints, policy.IsInside) {
		return nil
	}
	sources := p.Sources(m.Member)
	if !policy.Merge(sources).Restricts() {
		return nil
	}
	checked := m.Member
	checked.Name, checked.Privileges = name, has
	return p.checkEndpoints(checked, sources)
}
