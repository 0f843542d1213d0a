package inspect

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/translate/systempaths"
)

// hostConfig returns the part of the configuration that depends on the host.
func hostConfig(cfg *containerv1.ContainerConfig) *container.HostConfig {
	net, dns, sec, ns := cfg.GetNetwork(), cfg.GetDns(), cfg.GetSecurity(), cfg.GetNamespaces()
	out := &container.HostConfig{
		Binds: binds(cfg.GetMounts()), Mounts: mountOptions(cfg.GetMounts()), Tmpfs: tmpfsOptions(cfg.GetMounts()),
		LogConfig:    logConfig(cfg.GetLog()),
		NetworkMode:  container.NetworkMode(Mode(net)),
		PortBindings: requestedPorts(net), PublishAllPorts: net.GetPublishAll(),
		RestartPolicy: restartPolicy(cfg.GetRestart()), AutoRemove: cfg.GetAutoRemove(),
		Annotations: cfg.GetAnnotations(),
		CapAdd:      sec.GetCapAdd(), CapDrop: sec.GetCapDrop(),
		CgroupnsMode: container.CgroupnsMode(cmp.Or(ns.GetCgroup(), "private")),
		DNS:          addresses(dns.GetServers()), DNSOptions: orEmpty(dns.GetOptions()),
		DNSSearch:  orEmpty(dns.GetSearch()),
		ExtraHosts: dns.GetExtraHosts(), GroupAdd: sec.GetGroups(), Links: links(cfg),
		IpcMode: container.IpcMode(cmp.Or(ns.GetIpc(), "private")), PidMode: container.PidMode(ns.GetPid()),
		Privileged: sec.GetPrivileged(), ReadonlyRootfs: sec.GetReadOnly(),
		UTSMode: container.UTSMode(cfg.GetUts()), UsernsMode: container.UsernsMode(ns.GetUser()),
		ShmSize: cfg.GetResources().GetShmSize(), Sysctls: cfg.GetSysctls(), Runtime: cfg.GetRuntime(),
		OomScoreAdj: int(cfg.GetResources().GetOomScoreAdj()), Resources: resources(cfg),
	}
	if cfg != nil {
		out.Init = cfg.Init
	}
	setSecurityOptions(out, sec.GetOptions())
	return out
}

// setSecurityOptions sets the options. One of them is a list of paths in Docker.
func setSecurityOptions(out *container.HostConfig, options []string) {
	out.MaskedPaths, out.ReadonlyPaths = systempaths.Masked(), systempaths.Readonly()
	if out.Privileged {
		out.MaskedPaths, out.ReadonlyPaths = nil, nil
	}
	for _, o := range options {
		if o == "systempaths=unconfined" {
			out.MaskedPaths, out.ReadonlyPaths = []string{}, []string{}
			continue
		}
		out.SecurityOpt = append(out.SecurityOpt, o)
	}
}

func logConfig(log *containerv1.LogConfig) container.LogConfig {
	out := container.LogConfig{Type: cmp.Or(log.GetDriver(), "json-file"), Config: log.GetOptions()}
	if out.Config == nil {
		out.Config = map[string]string{}
	}
	return out
}

func restartPolicy(p *containerv1.RestartPolicy) container.RestartPolicy {
	return container.RestartPolicy{Name: container.RestartPolicyMode(cmp.Or(p.GetName(), "no")),
		MaximumRetryCount: int(p.GetMaximumRetryCount())}
}

// links returns links in Docker's form: /OTHER:/SELF/ALIAS. OTHER is an ID, because the name can change.
func links(cfg *containerv1.ContainerConfig) (out []string) {
	for _, l := range cfg.GetNetwork().GetLinks() {
		out = append(out, "/"+l.GetContainer()+":/"+cfg.GetName()+"/"+cmp.Or(l.GetAlias(), l.GetContainer()))
	}
	return out
}

// addresses parses addresses, which the supervisor has validated.
func addresses(texts []string) []netip.Addr {
	out := []netip.Addr{}
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func resources(cfg *containerv1.ContainerConfig) container.Resources {
	r, sec := cfg.GetResources(), cfg.GetSecurity()
	oomKillDisable := r.GetOomKillDisable()
	out := container.Resources{
		CPUShares: r.GetCpuShares(), Memory: r.GetMemory(), NanoCPUs: r.GetNanoCpus(),
		CgroupParent: cfg.GetNamespaces().GetCgroupParent(), BlkioWeight: uint16(r.GetBlkioWeight()),
		BlkioWeightDevice:   []*blkiodev.WeightDevice{},
		BlkioDeviceReadBps:  throttles(r.GetDeviceReadBps()),
		BlkioDeviceWriteBps: throttles(r.GetDeviceWriteBps()), BlkioDeviceReadIOps: throttles(r.GetDeviceReadIops()),
		BlkioDeviceWriteIOps: throttles(r.GetDeviceWriteIops()), CPUPeriod: r.GetCpuPeriod(), CPUQuota: r.GetCpuQuota(),
		CpusetCpus: r.GetCpusetCpus(), CpusetMems: r.GetCpusetMems(), Devices: []container.DeviceMapping{},
		DeviceCgroupRules: sec.GetDeviceCgroupRules(), MemoryReservation: r.GetMemoryReservation(),
		MemorySwap: r.GetMemorySwap(), OomKillDisable: &oomKillDisable, Ulimits: []*container.Ulimit{},
	}
	if r != nil {
		out.MemorySwappiness, out.PidsLimit = r.MemorySwappiness, r.PidsLimit
	}
	for _, d := range sec.GetDevices() {
		out.Devices = append(out.Devices, container.DeviceMapping{PathOnHost: d.GetHostPath(),
			PathInContainer: d.GetContainerPath(), CgroupPermissions: cmp.Or(d.GetPermissions(), "rwm")})
	}
	for _, req := range sec.GetDeviceRequests() {
		request := container.DeviceRequest{Driver: req.GetDriver(), Count: int(req.GetCount()),
			DeviceIDs: req.GetDeviceIds(), Options: map[string]string{}}
		for _, c := range req.GetCapabilities() {
			request.Capabilities = append(request.Capabilities, c.GetNames())
		}
		out.DeviceRequests = append(out.DeviceRequests, request)
	}
	for _, d := range r.GetBlkioWeightDevices() {
		out.BlkioWeightDevice = append(out.BlkioWeightDevice,
			&blkiodev.WeightDevice{Path: d.GetPath(), Weight: uint16(d.GetWeight())})
	}
	for _, u := range r.GetUlimits() {
		out.Ulimits = append(out.Ulimits, &container.Ulimit{Name: u.GetName(), Hard: u.GetHard(), Soft: u.GetSoft()})
	}
	return out
}

func throttles(in []*containerv1.ThrottleDevice) []*blkiodev.ThrottleDevice {
	out := []*blkiodev.ThrottleDevice{}
	for _, d := range in {
		out = append(out, &blkiodev.ThrottleDevice{Path: d.GetPath(), Rate: d.GetRate()})
	}
	return out
}

// Shares reports whether a container uses the network namespace of another one.
func Shares(net *containerv1.NetworkConfig) bool {
	return strings.HasPrefix(net.GetMode(), "container:")
}

// Mode returns the network mode. The default is the network bridge.
func Mode(net *containerv1.NetworkConfig) string {
	mode := net.GetMode()
	if all := net.GetNetworks(); mode == "" && len(all) > 0 {
		mode = all[0].GetNetwork()
	}
	if mode == "" || mode == "default" {
		return "bridge"
	}
	return mode
}
