package launch

import (
	"context"
	"os"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/saga"
)

// registerNames registers the container in dnsagent, which writes its name files.
func (l *launch) registerNames() saga.Step {
	return saga.Step{
		Name: registerNames, After: []string{mountNames, joinNetwork},
		Do: func(ctx context.Context) error {
			ctx, cancel := agents.WithTimeout(ctx)
			defer cancel()
			r, err := l.registration(ctx)
			if err != nil {
				return err
			}
			files, err := l.r.Agents.Register(ctx, r)
			if fault.Is(err, fault.Exists) && l.r.Joins.Any(l.id) {
				files, err = l.r.Agents.RegisterAgain(ctx, r)
			}
			if err != nil {
				return err
			}
			l.live.Files = files
			return nil
		},
		Undo: func(ctx context.Context) error {
			if l.keepsFiles() {
				return l.retainFiles(ctx)
			}
			return l.r.Agents.Unregister(ctx, l.id)
		},
	}
}

// retainFiles removes the DNS names and keeps the name files for joined containers.
// The last of these releases the files.
func (l *launch) retainFiles(ctx context.Context) error {
	err := l.r.Agents.RemoveNames(ctx, l.id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (l *launch) registration(ctx context.Context) (agents.Registration, error) {
	cfg := &l.req.Config
	r := agents.Registration{Owner: l.id, Name: l.name, Hostname: cfg.DNS.Hostname, Config: cfg,
		Endpoints: l.live.Endpoints, Egress: l.r.Policies.Names(memberOf(l))}
	var err error
	if cfg.UTS == container.UTSHost {
		if r.Hostname, err = l.utsName(); err != nil {
			return r, err
		}
	}

	if agents.UsesHostGateway(&cfg.DNS) {
		r.HostGateways, err = l.r.Agents.HostGateways(ctx)
		l.live.HostGateways = r.HostGateways
	}

	return r, err
}

// utsName returns the host's name for a container in the host's UTS namespace, otherwise an empty
// name.
func (l *launch) utsName() (string, error) {
	if l.req.Config.UTS != container.UTSHost {
		return "", nil
	}
	name, err := os.Hostname()
	return name, fault.Wrap(err, fault.Internal, "host name", "cannot be read")
}
