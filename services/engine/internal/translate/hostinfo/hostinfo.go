// Package hostinfo translates the description of the host to the document of GET /info. It performs no
// I/O.
package hostinfo

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
)

// hub is the address of Docker Hub.
const hub = "https://index.docker.io/v1/"

// Document is the answer to GET /info.
type Document struct {
	*system.Info
	ContainerdCommit Commit
	RuncCommit       Commit
	InitCommit       Commit
	// Version 1.50 removed them.
	BridgeNfIptables  *bool `json:",omitempty"`
	BridgeNfIP6tables *bool `json:"BridgeNfIp6tables,omitempty"`
	// Docker's experimental "docker info" of old clients reads them.
	ClusterStore     string `json:",omitempty"`
	ClusterAdvertise string `json:",omitempty"`
}

// Commit is the version of a program. Version 1.49 removed the expected one.
type Commit struct {
	ID       string
	Expected string `json:",omitempty"`
}

// FromProto returns the document. firewall is the backend of natagent.
func FromProto(h *hostv1.GetInfoResponse, firewall string, now time.Time, v apiversion.Version) *Document {
	counts, all := h.GetContainers(), 0
	for _, n := range counts {
		all += int(n)
	}
	running := int(counts["running"] + counts["restarting"])
	cgroupVersion := "1"
	if h.GetCgroupVersion() == "2" {
		cgroupVersion = "2"
	}

	limits := func(name string) bool { return slices.Contains(h.GetLimits(), name) }
	doc := &Document{Info: &system.Info{
		ID: h.GetId(), Containers: all, ContainersRunning: running, ContainersPaused: int(counts["paused"]),
		ContainersStopped: all - running - int(counts["paused"]), Images: int(h.GetImages()), Driver: inspect.Driver,
		DriverStatus: [][2]string{{"Backing Filesystem", "overlay"}, {"Supports d_type", "true"}},
		Plugins: system.PluginsInfo{Volume: []string{"local"}, Network: h.GetNetworkDrivers(),
			Authorization: nil, Log: h.GetLogDrivers()},
		MemoryLimit: limits("memory"), SwapLimit: limits("swap"), CPUCfsPeriod: limits("cpu-quota"),
		CPUCfsQuota: limits("cpu-quota"), CPUShares: limits("cpu-shares"), CPUSet: limits("cpuset"),
		PidsLimit: limits("pids"), IPv4Forwarding: h.GetIpv4Forwarding(), OomKillDisable: limits("oom-kill-disable"),
		SystemTime: now.Format(time.RFC3339Nano), LoggingDriver: h.GetLogDriver(), CgroupDriver: "cgroupfs",
		CgroupVersion: cgroupVersion, KernelVersion: h.GetKernelVersion(), OperatingSystem: h.GetOperatingSystem(),
		OSType: h.GetOs(), Architecture: machine(h.GetArchitecture()), IndexServerAddress: hub,
		RegistryConfig: registries(h), NCPU: int(h.GetCpus()), MemTotal: h.GetMemory(), DockerRootDir: h.GetDataRoot(),
		GenericResources: nil, Name: h.GetHostName(), Labels: []string{}, ServerVersion: h.GetVersion(),
		Runtimes: map[string]system.RuntimeWithStatus{}, DefaultRuntime: filepath.Base(h.GetRuntime()),
		Swarm:              swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		LiveRestoreEnabled: true, InitBinary: initBinary(h), SecurityOptions: []string{"name=seccomp,profile=builtin"},
		CDISpecDirs: []string{"/etc/cdi", "/var/run/cdi"}, Warnings: h.GetWarnings(),
	}}
	if cgroupVersion == "2" {
		doc.SecurityOptions = append(doc.SecurityOptions, "name=cgroupns")
	}
	for name, path := range h.GetRuntimes() {
		doc.Runtimes[name] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: path}}
	}
	if v.AtLeast(49) {
		doc.FirewallBackend = &system.FirewallInfo{Driver: firewall}
	}
	if v.Before(50) {
		no := false
		doc.BridgeNfIptables, doc.BridgeNfIP6tables = &no, &no
	}
	return doc
}

// initBinary returns the name of the init program of --init, empty without one.
func initBinary(h *hostv1.GetInfoResponse) string {
	if h.GetInitPath() == "" {
		return ""
	}
	return filepath.Base(h.GetInitPath())
}

// machine returns the name of an architecture as `uname -m`.
func machine(goarch string) string {
	if name, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686",
		"arm": "armv7l"}[goarch]; ok {
		return name
	}
	return goarch
}

// registries returns the configuration of registries.
func registries(h *hostv1.GetInfoResponse) *registry.ServiceConfig {
	out := &registry.ServiceConfig{
		InsecureRegistryCIDRs: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")},
		IndexConfigs: map[string]*registry.IndexInfo{
			"docker.io": {Name: "docker.io", Mirrors: slices.Clone(h.GetRegistryMirrors()), Secure: true,
				Official: true}},
		Mirrors: slices.Clone(h.GetRegistryMirrors())}
	for _, text := range h.GetInsecureRegistries() {
		if p, err := netip.ParsePrefix(text); err == nil {
			out.InsecureRegistryCIDRs = append(out.InsecureRegistryCIDRs, p)
			continue
		}
		out.IndexConfigs[text] = &registry.IndexInfo{Name: text, Mirrors: []string{}}
	}
	return out
}
