package api

import "google.golang.org/grpc"

// Server is all that the supervisor serves.
type Server struct {
	containers *ContainerServer
	images     *ImageServer
	host       *HostServer
}

// NewServer puts it together.
func NewServer(containers *ContainerServer, images *ImageServer, host *HostServer) *Server {
	return &Server{containers, images, host}
}

// Register adds the services to a server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	s.containers.Register(r)
	s.images.Register(r)
	s.host.Register(r)
}
