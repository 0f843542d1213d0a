package api

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/diagnosis"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// HostFacts holds values that do not change while the agent runs.
type HostFacts struct {
	DataRoot, ExecRoot string
	Runtime            string // path of the default runtime
	CgroupVersion      string // "1", "hybrid" or "2"
}

// HostServer implements fairlead.host.v1.HostService.
type HostServer struct {
	hostv1.UnimplementedHostServiceServer
	facts      HostFacts
	containers func() []*container.Container
	images     func() int
	diagnose   func(context.Context) []diagnosis.Finding

	// Compare compares the store with processes and the other services. With repair it reconciles
	// first.
	Compare func(ctx context.Context, repair bool) []diagnosis.Finding
}

// NewHostServer returns a HostServer.
func NewHostServer(facts HostFacts, containers func() []*container.Container, images func() int,
	diagnose func(context.Context) []diagnosis.Finding) *HostServer {
	return &HostServer{facts: facts, containers: containers, images: images, diagnose: diagnose}
}

// Diagnose implements HostServiceServer.
func (s *HostServer) Diagnose(ctx context.Context, _ *hostv1.DiagnoseRequest) (*hostv1.DiagnoseResponse, error) {
	return &hostv1.DiagnoseResponse{Findings: diagnosis.Proto(s.diagnose(ctx))}, nil
}

// Check implements HostServiceServer.
func (s *HostServer) Check(ctx context.Context, req *hostv1.CheckRequest) (*hostv1.CheckResponse, error) {
	if s.Compare == nil {
		return &hostv1.CheckResponse{}, nil
	}
	return &hostv1.CheckResponse{Findings: diagnosis.Proto(s.Compare(ctx, req.GetRepair()))}, nil
}

// Register registers the service.
func (s *HostServer) Register(r grpc.ServiceRegistrar) { hostv1.RegisterHostServiceServer(r, s) }

// drivers lists the network drivers, sorted. The driver overlay is not supported.
var drivers = [...]string{"bridge", "host", "ipvlan", "macvlan", "null"}

// GetInfo implements HostServiceServer.
func (s *HostServer) GetInfo(context.Context, *hostv1.GetInfoRequest) (*hostv1.GetInfoResponse, error) {
	counts := map[string]uint32{}
	for _, c := range s.containers() {
		counts[string(c.Status)]++
	}
	return &hostv1.GetInfoResponse{
		Version: version.Version, ApiVersion: version.API, KernelVersion: kernelRelease(), Os: runtime.GOOS,
		Architecture:  runtime.GOARCH,
		CgroupVersion: s.facts.CgroupVersion, Runtime: s.facts.Runtime, DataRoot: s.facts.DataRoot,
		ExecRoot:       s.facts.ExecRoot,
		NetworkDrivers: drivers[:], DefaultNetworkDriver: drivers[0], Containers: counts, Images: uint32(s.images()),
	}, nil
}

// kernelRelease returns the kernel release, as `uname -r`.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
