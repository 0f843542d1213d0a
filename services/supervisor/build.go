package supervisor

import (
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/builder"
	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
)

// newBuilder returns the builder. It starts nothing.
func (s *Service) newBuilder(cfg Config, steps *buildnet.Network, others *agents.Agents) *builder.Builder {
	return builder.New(builder.Config{Program: cfg.BuildKit, Runtime: cfg.Runtimes["runc"], DataRoot: cfg.DataRoot,
		ExecRoot: cfg.ExecRoot, Plugin: cfg.Program, Log: cfg.Log, Network: steps.Listen, DNS: cfg.BuildDNS,
		HostGateways: others.HostGateways,
		Registries: func() builder.Registries {
			current := s.registries.Load()
			return builder.Registries{Mirrors: current.RegistryMirrors, Insecure: current.InsecureRegistries}
		}})
}
