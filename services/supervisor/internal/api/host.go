package api

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/diagnosis"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
)

// HostConfig holds what the host service reports.
type HostConfig struct {
	// These do not change while the agent runs.
	DataRoot, ExecRoot string
	Runtime            string // path of the default runtime
	CgroupVersion      string // "1", "hybrid" or "2"
	LogDriver          string
	Limits             []string          // that the cgroups enforce
	InitPath           string            // of --init; empty: none
	Runtimes           map[string]string // paths by name, without the default one

	Mirrors, Insecure func() []string // registries, which a reload changes

	Containers func() []*container.Container
	Images     func() int // number of images
	Diagnose   func(context.Context) []diagnosis.Finding

	// Compare compares the store with processes and the other services. With repair it reconciles
	// first. nil means nothing to compare.
	Compare func(ctx context.Context, repair bool) []diagnosis.Finding
}

// hostServer implements fairlead.host.v1.HostService.
type hostServer struct {
	hostv1.UnimplementedHostServiceServer
	cfg HostConfig
}

// Diagnose implements HostServiceServer.
func (s *hostServer) Diagnose(ctx context.Context, _ *hostv1.DiagnoseRequest) (*hostv1.DiagnoseResponse, error) {
	return &hostv1.DiagnoseResponse{Findings: diagnosis.Proto(s.cfg.Diagnose(ctx))}, nil
}

// Check implements HostServiceServer.
func (s *hostServer) Check(ctx context.Context, req *hostv1.CheckRequest) (*hostv1.CheckResponse, error) {
	if s.cfg.Compare == nil {
		return &hostv1.CheckResponse{}, nil
	}
	return &hostv1.CheckResponse{Findings: diagnosis.Proto(s.cfg.Compare(ctx, req.GetRepair()))}, nil
}

// drivers lists the network drivers, sorted. The driver overlay needs a fleet.
var drivers = [...]string{"bridge", "host", "ipvlan", "macvlan", "null", "overlay"}

// GetInfo implements HostServiceServer.
func (s *hostServer) GetInfo(context.Context, *hostv1.GetInfoRequest) (*hostv1.GetInfoResponse, error) {
	counts := map[string]uint32{}
	for _, c := range s.cfg.Containers() {
		counts[c.State()]++
	}
	return &hostv1.GetInfoResponse{
		Version: version.Version, ApiVersion: version.API, KernelVersion: kernelRelease(), Os: runtime.GOOS,
		Architecture:  runtime.GOARCH,
		CgroupVersion: s.cfg.CgroupVersion, Runtime: s.cfg.Runtime, DataRoot: s.cfg.DataRoot,
		ExecRoot:       s.cfg.ExecRoot,
		NetworkDrivers: drivers[:], DefaultNetworkDriver: drivers[0], Containers: counts,
		Images: uint32(s.cfg.Images()),
		Id:     engineID(s.cfg.DataRoot), HostName: hostName(), OperatingSystem: operatingSystem(),
		Cpus: uint32(runtime.NumCPU()), Memory: memory(), LogDriver: s.cfg.LogDriver, Runtimes: s.runtimes(),
		RegistryMirrors: s.cfg.Mirrors(), InsecureRegistries: s.cfg.Insecure(),
		Limits: s.cfg.Limits, Ipv4Forwarding: forwards(), LogDrivers: logdriver.Names(), InitPath: s.cfg.InitPath,
	}, nil
}

// runtimes returns the paths of the OCI runtimes by name, the default one included.
func (s *hostServer) runtimes() map[string]string {
	all := map[string]string{filepath.Base(s.cfg.Runtime): s.cfg.Runtime}
	maps.Copy(all, s.cfg.Runtimes)
	return all
}

// forwards reports whether the host forwards IPv4 packets.
func forwards() bool {
	value, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return err == nil && strings.TrimSpace(string(value)) != "0"
}

// kernelRelease returns the kernel release, as `uname -r`.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
