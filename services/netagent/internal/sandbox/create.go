package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/tracing"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/netagent/internal/address"
	"github.com/fairlead/fairlead/services/netagent/internal/attach"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/leases"
	"github.com/fairlead/fairlead/services/netagent/internal/namespace"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
	"github.com/fairlead/fairlead/services/netagent/internal/store"
)

// Create creates a sandbox.
//
// It is idempotent. A request with different content returns Exists. On failure, it removes
// everything it created.
func (m *Manager) Create(ctx context.Context, req endpoint.Request) (endpoint.Sandbox, error) {
	var none endpoint.Sandbox
	if err := req.Validate(); err != nil {
		return none, err
	}
	if err := m.Ready(); err != nil {
		return none, err
	}

	var sb endpoint.Sandbox
	begun := time.Now()
	err := address.Retry(ctx, m.source, func() (err error) {
		sb, err = m.create(ctx, req)
		return err
	})
	m.times.Add(time.Since(begun), metrics.Outcome(err))
	return sb, err
}

func (m *Manager) create(ctx context.Context, req endpoint.Request) (endpoint.Sandbox, error) {
	var none endpoint.Sandbox
	nets, err := m.resolve(req.Endpoints)
	if err != nil {
		return none, err
	}
	if err := m.require(ctx, nets); err != nil {
		return none, err
	}

	defer m.locks.Owner(req.Owner)()
	defer m.locks.ReadNetworks(idsOf(nets)...)()

	if nets, err = m.resolve(req.Endpoints); err == nil { // a network may have changed while this waited
		err = m.require(ctx, nets)
	}
	if err != nil {
		return none, err
	}

	have, ok, err := m.existing(req, nets)
	if err != nil || ok {
		return have, err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}

	sb, err := m.allocate(req, nets)
	if err != nil {
		return none, err
	}

	if have.NetnsOnly {
		sb, err = m.reattachKept(ctx, have, sb, nets)
	} else {
		sb, err = m.storeAndCreate(ctx, sb, nets)
	}
	if err != nil {
		return none, err
	}

	return sb, nil
}

// resolve returns the networks of the endpoints and checks that they can be combined.
func (m *Manager) resolve(specs []endpoint.Spec) ([]store.Network, error) {
	seen := map[string]bool{}
	var out []store.Network
	for _, spec := range specs {
		n, err := m.store.FindNetwork(spec.Network)
		if err != nil {
			return nil, err
		}
		if n.IsConfigOnly() {
			return nil, fault.New(fault.Invalid, n.Subject(),
				"cannot create endpoint on configuration-only network", fault.WithField("endpoints"),
				fault.WithHint("create a network from it: fairlead network create --config-from %s NAME", n.Name))
		}
		if _, ok := m.drivers[n.Driver]; !ok {
			return nil, fault.New(fault.Invalid, n.Subject(),
				fmt.Sprintf("driver %s does not support endpoints", n.Driver),
				fault.WithField("endpoints"),
				fault.WithHint("remove the endpoints: host is a mode, none is mode private without endpoints"))
		}
		if len(spec.Allowed) > 0 && n.Driver != network.DriverBridge {
			return nil, fault.New(fault.Invalid, n.Subject(),
				"option allowed-addresses is not supported by driver "+n.Driver,
				fault.WithField("driver-opt"),
				fault.WithHint("remove the option: the LAN decides which addresses are accepted"))
		}
		if seen[n.ID] {
			return nil, fault.Invalidf(n.Subject(), "endpoints", "is specified multiple times")
		}
		if n.IsPredefined() && spec.HasStaticAddress() {
			return nil, fault.New(fault.Invalid, n.Subject(),
				"invalid endpoint settings: user-specified IP address is supported on user-defined networks only",
				fault.WithField("ip"))
		}
		seen[n.ID] = true
		out = append(out, n)
	}

	return out, nil
}

func idsOf(nets []store.Network) []string {
	var out []string
	for _, n := range nets {
		out = append(out, n.ID)
	}
	return out
}

// require waits until natagent has acknowledged the networks.
func (m *Manager) require(ctx context.Context, nets []store.Network) error {
	for _, n := range nets {
		if err := m.bringup.Require(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// existing returns the sandbox of the owner. ok is true if it matches the request and its namespace
// exists. It also returns a kept namespace, with ok false.
func (m *Manager) existing(req endpoint.Request, nets []store.Network) (have endpoint.Sandbox, ok bool, err error) {
	have, ok = m.store.Sandbox(req.Owner)
	if !ok {
		return have, false, m.clearStalePin(req)
	}

	if !m.attach.Exists(have) && !m.adoptAgain(have) {
		return endpoint.Sandbox{}, false, m.remove(have)
	}

	if have.NetnsOnly && req.Mode == endpoint.Private {
		return have, false, nil
	}

	specs := make([]endpoint.Spec, len(nets))
	for i, n := range nets {
		specs[i] = req.Endpoints[i].On(n.ID)
	}

	if !have.Matches(req.Mode, specs) || !m.sameNamespace(have, req) {
		return endpoint.Sandbox{}, false, fault.New(fault.Exists, endpoint.SandboxSubject(req.Owner),
			"already exists with another configuration",
			fault.WithHint("release it first"))
	}

	if have.OwnerName == req.OwnerName {
		return have, true, nil
	}

	have.OwnerName = req.OwnerName
	return have, true, m.store.PutSandbox(have)
}

// sameNamespace reports whether a sandbox is in the namespace that a request asks for.
func (m *Manager) sameNamespace(have endpoint.Sandbox, req endpoint.Request) bool {
	if have.External == "" || req.External == "" {
		return have.External == req.External
	}
	return m.namespaces.Same(have.NetnsPath, req.External)
}

// clearStalePin unpins a stale namespace at the owner's path. It fails if a sandbox of an owner
// with the same ID prefix uses it.
func (m *Manager) clearStalePin(req endpoint.Request) error {
	path := m.pinOf(req.Owner)
	if other, ok := m.store.SandboxAt(path); ok {
		return fault.New(fault.Conflict, endpoint.SandboxSubject(req.Owner),
			"id has the same prefix as owner "+other.Owner,
			fault.WithHint("choose another id"))
	}
	return fault.Wrap(m.namespaces.Unpin(path), fault.Internal, endpoint.SandboxSubject(req.Owner),
		"cannot remove stale namespace")
}

// storeAndCreate stores the sandbox and creates it concurrently, since both take about as long. That of a namespace
// of another program is stored first: the namespace remains if this process exits, and its record says what is in it.
func (m *Manager) storeAndCreate(
	ctx context.Context, sb endpoint.Sandbox, nets []store.Network,
) (endpoint.Sandbox, error) {
	stored := make(chan error, 1)
	put := func(context.Context) error { return m.store.PutSandbox(sb) }
	go func() { stored <- tracing.Run(ctx, "store sandbox", put) }()
	var err error
	made := sb
	switch {
	case sb.External != "":
		if err = <-stored; err == nil {
			made, err = m.adoptNamespace(ctx, sb, nets)
		}
		stored <- nil
	case sb.Mode == endpoint.Private:
		made, err = m.createNamespace(ctx, sb, nets)
	}
	if err = errors.Join(err, <-stored); err == nil && leases.Has(made) {
		err = errors.Join(m.store.PutSandbox(made), m.leases.ForgetHeld(made))
	}
	if err != nil {
		m.leases.Release(made)
		return made, errors.Join(err, m.remove(made))
	}

	return made, nil
}

// createNamespace creates the namespace with all endpoints and pins it.
func (m *Manager) createNamespace(
	ctx context.Context, sb endpoint.Sandbox, nets []store.Network,
) (endpoint.Sandbox, error) {
	ctx, span := tracing.Start(ctx, "create namespace")
	err := m.namespaces.Create(sb.NetnsPath, dockerSysctls(), unguidedSysctls(),
		func(ns namespace.Namespace) (err error) {
			return tracing.Run(ctx, "attach endpoints", func(ctx context.Context) error {
				sb, err = m.attachAll(ctx, ns, sb, nets)
				return err
			})
		})
	span.End(err)
	return sb, attach.Fault(err, sb)
}

// adoptNamespace pins the namespace of another program and attaches all endpoints. It is pinned first:
// the endpoints of an incomplete sandbox are then removed from it.
func (m *Manager) adoptNamespace(
	ctx context.Context, sb endpoint.Sandbox, nets []store.Network,
) (endpoint.Sandbox, error) {
	if err := m.namespaces.Adopt(sb.External, sb.NetnsPath, unguidedSysctls()); err != nil {
		return sb, fault.Invalidf(endpoint.SandboxSubject(sb.Owner), "netns_path",
			"cannot use network namespace %s: %v", sb.External, err)
	}
	err := m.namespaces.Within(sb.NetnsPath, func(ns namespace.Namespace) (err error) {
		sb, err = m.attachAll(ctx, ns, sb, nets)
		return err
	})
	return sb, attach.Fault(err, sb)
}

// attachAll attaches all endpoints of a sandbox and returns it with the addresses it acquired.
func (m *Manager) attachAll(
	ctx context.Context, ns namespace.Namespace, sb endpoint.Sandbox, nets []store.Network,
) (endpoint.Sandbox, error) {
	sb, err := m.leases.Obtain(ctx, ns, sb, sb.Endpoints...)
	if err != nil {
		return sb, err
	}
	for i, e := range sb.Endpoints {
		n := nets[i].Network
		if err := m.drivers[n.Driver].Attach(ns.Kernel(), n, sb.Owner, e); err != nil {
			return sb, err
		}
	}
	return sb, nil
}

// dockerSysctls returns Docker's defaults: any user may bind low ports and send pings.
func dockerSysctls() []kernel.Sysctl {
	return []kernel.Sysctl{
		{Path: "net/ipv4/ip_unprivileged_port_start", Value: "0"},
		{Path: "net/ipv4/ping_group_range", Value: "0 2147483647"},
	}
}

// unguidedSysctls disables router advertisements and redirects, so that other hosts cannot add
// addresses and routes to a container. New interfaces inherit them. The sysctls of an endpoint are
// set later and take precedence.
func unguidedSysctls() []kernel.Sysctl {
	return []kernel.Sysctl{
		{Path: "net/ipv4/conf/all/accept_redirects", Value: "0"},
		{Path: "net/ipv4/conf/default/accept_redirects", Value: "0"},
		{Path: "net/ipv6/conf/default/accept_redirects", Value: "0"},
		{Path: "net/ipv6/conf/default/accept_ra", Value: "0"},
		{Path: "net/ipv6/conf/default/autoconf", Value: "0"},
	}
}
