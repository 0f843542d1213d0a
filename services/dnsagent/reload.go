package dnsagent

import "context"

// Reload changes the servers, search domains and options of containers that are registered later,
// replaces the configured records and forwards, and clears the cache.
func (s *Service) Reload(_ context.Context, cfg Config) error {
	configured, err := cfg.forContainers()
	if err != nil {
		return err
	}
	s.names.Configure(configured)
	s.records.Configure(cfg.programmed())
	s.resolvers.SetCaching(!cfg.NoCache)
	s.resolvers.SetRefusal(cfg.Refuse)
	return nil
}

// Check returns the error with which Reload would fail.
func (s *Service) Check(_ context.Context, cfg Config) error {
	_, err := cfg.forContainers()
	return err
}
