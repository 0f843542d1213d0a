// Package api has the gRPC services of the engine. There are none: the engine is a client of the other
// services only. The agent serves health and configuration on its socket.
package api

import "google.golang.org/grpc"

// Server registers no service.
type Server struct{}

// Register registers nothing.
func (Server) Register(grpc.ServiceRegistrar) {}
