package dnsagent

import "context"

// Users returns none: dnsagent holds no resource that other processes use.
func (s *Service) Users() []string { return nil }

// Clean closes the stored sockets of resolvers, which keep network namespaces of containers.
func (s *Service) Clean(ctx context.Context) error { return s.resolvers.Clear(ctx) }
