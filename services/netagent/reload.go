package netagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/netagent/internal/ipam"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Reload changes the subnets of the default bridge, the address pools, and the MTU and limits of new
// endpoints. Other settings apply at the next start.
func (s *Service) Reload(ctx context.Context, cfg Config) error {
	settings, err := s.wanted(cfg)
	if err != nil {
		return err
	}
	if err := s.predefine(ctx, settings); err != nil {
		return errors.Join(err, s.predefine(context.WithoutCancel(ctx), s.settings))
	}
	s.settings = settings
	s.networks.SetDefaults(addressSpace(cfg.AddressPools), cfg.NetworkOptions, cfg.Limits)
	return nil
}

// Check returns the error with which Reload would fail, given the current networks and containers.
func (s *Service) Check(_ context.Context, cfg Config) error {
	_, err := s.wanted(cfg)
	return err
}

// wanted returns the settings that a running service can take from a configuration.
func (s *Service) wanted(cfg Config) (network.BridgeSettings, error) {
	next, err := cfg.settings(s.host, s.store)
	if err != nil {
		return next, err
	}
	settings := s.settings.WithPools(next)
	return settings, errors.Join(settings.Validate(), s.predefined.CheckRenumber(settings), cfg.CheckOptions())
}

// predefine stores the predefined networks while the service runs, and updates firewall, host and
// containers.
func (s *Service) predefine(ctx context.Context, settings network.BridgeSettings) error {
	have, _ := s.store.NetworkNamed(network.NameBridge) // the other predefined networks cannot change
	if err := s.storePredefined(have.ID, settings); err != nil {
		return err
	}
	return errors.Join(s.networks.ReapplyPredefined(ctx), s.bringup.Reconcile(ctx), s.networks.Resume())
}

// storePredefined stores the predefined networks while no endpoint is attached to the default bridge.
func (s *Service) storePredefined(networkID string, settings network.BridgeSettings) error {
	defer s.locks.WriteNetwork(networkID)()
	return s.predefined.Store(settings)
}

func addressSpace(pools []AddressPool) network.AddressPools {
	var space network.AddressPools
	for _, p := range pools {
		space = append(space, ipam.Base{Prefix: p.Base, Bits: p.Size})
	}
	return space
}
