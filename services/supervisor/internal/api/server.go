package api

import "google.golang.org/grpc"

// Server holds all gRPC services of the supervisor.
type Server struct {
	containers *ContainerServer
	images     *ImageServer
	host       *HostServer
}

// NewServer returns a Server.
func NewServer(containers *ContainerServer, images *ImageServer, host *HostServer) *Server {
	return &Server{containers, images, host}
}

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	s.containers.Register(r)
	s.images.Register(r)
	s.host.Register(r)
}
