package dnsagent

import "context"

// Users returns none: dnsagent serves containers, and the supervisor names them.
func (s *Service) Users() []string { return nil }

// Clean closes the resolvers' sockets that are kept for the next process: they keep containers' network namespaces.
func (s *Service) Clean(ctx context.Context) error { return s.names.resolvers.store.Clear(ctx) }
