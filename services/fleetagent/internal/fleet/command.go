package fleet

import (
	"context"
	"crypto/x509"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Node returns a connection to the agent of another host, and nil for this host. Managers only.
func (f *Fleet) Node(_ context.Context, name string) (api.Conn, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	return p.node(name)
}

func (p *part) node(name string) (api.Conn, error) {
	m := p.membership()
	if name == m.Name || name == m.Host {
		return nil, nil
	}
	host, err := p.find(name)
	switch {
	case err != nil:
		return nil, err
	case host.GetId() == m.Host:
		return nil, nil
	case !m.IsManager():
		return nil, notManager(m.Name)
	}
	return p.nodes.Conn(api.Target{ID: host.GetId(), Name: host.GetName(), Address: agentAddress(host),
		TLS: p.clientTLS(host.GetId(), "")})
}

func notManager(name string) error {
	return fault.New(fault.Denied, "host "+name, "is not a manager, and cannot command other hosts",
		fault.WithHint("run the command on a manager; see fairlead fleet ls"))
}

// Command implements api.Gatekeeper. Managers command each host directly. Persons command hosts
// through a manager.
func (p *part) Command(cert *x509.Certificate, who pki.Identity, node string) error {
	subject := "certificate " + who.String()
	switch who.Role {
	case pki.Manager:
		if node != "" {
			return fault.New(fault.Denied, subject, "is that of a host, which commands other hosts directly")
		}
		return p.checkManager(who)
	case pki.Operator:
		if m := p.membership(); !m.IsManager() {
			return fault.New(fault.Denied, "host "+m.Name, "is not a manager, and accepts managers only",
				fault.WithHint("connect to a manager, and use --node %s", m.Name))
		}
		return p.checkPerson(cert, who)
	case pki.Member:
	}
	return fault.New(fault.Denied, subject, "is that of a member; only managers command other hosts")
}

// checkManager returns an error if a host is not a manager any more. Its certificate can be valid for
// a day.
func (p *part) checkManager(who pki.Identity) error {
	var host *fleetv1.Host
	known := 0
	p.mirror.Read(func(v *view.View) { host, known = v.Hosts()[who.Host], len(v.Hosts()) })
	switch {
	case known == 0:
		return fault.New(fault.Unavailable, "host "+p.membership().Name, "does not know the hosts of its fleet yet",
			fault.WithHint("try again"))
	case host == nil:
		return fault.New(fault.Denied, "host "+who.Host, "was removed from the fleet")
	case host.GetRole() != fleetv1.HostRole_HOST_ROLE_MANAGER:
		return fault.New(fault.Denied, "host "+host.GetName(), "is not a manager any more")
	}
	return nil
}
