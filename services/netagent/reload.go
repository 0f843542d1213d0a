package netagent

import (
	"context"
	"errors"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// Reload takes the default bridge's MTU, for endpoints that are made from now on, its subnets, and the address space. What else the
// configuration says waits for the next start.
func (s *Service) Reload(ctx context.Context, cfg Config) error {
	settings, err := s.wanted(cfg)
	if err != nil {
		return err
	}
	if err := s.predefine(ctx, settings); err != nil {
		return errors.Join(err, s.predefine(context.WithoutCancel(ctx), s.settings))
	}
	s.settings = settings
	s.networks.SetAddressPools(addressSpace(cfg.AddressPools), cfg.NetworkOptions)
	s.sandboxes.NotifyChanged()
	return nil
}

// Check tells why Reload would fail: with the default network as it is then, networks that others have made, and containers.
func (s *Service) Check(_ context.Context, cfg Config) error {
	_, err := s.wanted(cfg)
	return err
}

// wanted are the settings that a configuration gives to a service that runs, if it can take them.
func (s *Service) wanted(cfg Config) (network.BridgeSettings, error) {
	next, err := cfg.settings(s.host, s.store)
	if err != nil {
		return next, err
	}
	settings := s.settings.WithPools(next)
	return settings, errors.Join(settings.Validate(), s.reconciler.CheckRenumber(settings), cfg.CheckOptions())
}

// predefine stores the predefined networks while everything runs, and has guards, host and containers follow.
func (s *Service) predefine(ctx context.Context, settings network.BridgeSettings) error {
	have, _ := s.store.NetworkNamed(network.NameBridge) // of the others there is nothing that can change
	if err := s.sandboxes.WithNetworkLocked(have.ID, func() error { return s.reconciler.StorePredefined(settings) }); err != nil {
		return err
	}
	return errors.Join(s.networks.ReapplyPredefined(ctx), s.reconciler.Reconcile(ctx), s.networks.Resume())
}
