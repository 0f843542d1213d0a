package api

import (
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/events"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
)

// Config holds what the gRPC services of the supervisor call.
type Config struct {
	Containers Containers
	Events     *events.Broker
	Networks   NetworkEvents
	Fleet      FleetEvents // nil without fleetagent
	Images     Images
	Volumes    Volumes
	Files      Files
	Commits    Commits
	Disk       Disk
	Builder    Builder
	Host       HostConfig
	Policies   Policies
}

// Server registers the gRPC services of the supervisor.
type Server struct{ cfg Config }

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg} }

// Register registers the services.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	containerv1.RegisterContainerServiceServer(r, &containerServer{containers: s.cfg.Containers, volumes: s.cfg.Volumes,
		disk: s.cfg.Disk, images: s.cfg.Images, events: s.cfg.Events, networks: s.cfg.Networks, fleet: s.cfg.Fleet})
	containerv1.RegisterImageServiceServer(r, &imageServer{images: s.cfg.Images, commits: s.cfg.Commits})
	containerv1.RegisterVolumeServiceServer(r, &volumeServer{volumes: s.cfg.Volumes})
	containerv1.RegisterFileServiceServer(r, &fileServer{files: s.cfg.Files})
	containerv1.RegisterBuilderServiceServer(r, &builderServer{builder: s.cfg.Builder})
	containerv1.RegisterNamedPolicyServiceServer(r, &policyServer{policies: s.cfg.Policies})
	hostv1.RegisterHostServiceServer(r, &hostServer{cfg: s.cfg.Host})
}
