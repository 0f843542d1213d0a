package protoconv

import (
	"cmp"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
)

// ConfigFromProto converts the configuration of a container. It rejects values that it cannot
// convert and invalid ports; Config.Validate checks the rest.
func ConfigFromProto(in *containerv1.ContainerConfig) (container.Config, error) {
	n, d := in.GetNetwork(), in.GetDns()
	c := container.Config{
		Name: in.GetName(), Image: in.GetImage(), Command: in.GetCommand(), Entrypoint: in.GetEntrypoint(),
		Env: in.GetEnv(), WorkingDir: in.GetWorkingDir(), User: in.GetUser(), Labels: in.GetLabels(),
		TTY: in.GetTty(), OpenStdin: in.GetOpenStdin(), AutoRemove: in.GetAutoRemove(), Runtime: in.GetRuntime(),
		Platform: in.GetPlatform(), StopSignal: in.GetStopSignal(), Pull: pullPolicies[in.GetPull()],
		DNS: container.DNS{Hostname: d.GetHostname(), Domainname: d.GetDomainname(), Servers: d.GetServers(),
			Search: d.GetSearch(), Options: d.GetOptions(), ExtraHosts: d.GetExtraHosts()},
		Network: container.Network{Mode: container.Mode(n.GetMode()), PublishAll: n.GetPublishAll(),
			Links: linksFromProto(n.GetLinks()), Egress: EgressFromProto(n.GetEgress()),
			Ingress:     EgressFromProto(n.GetIngress()),
			Bandwidth:   BandwidthFromProto(n.GetBandwidth()),
			Limits:      limitsFromProto(n),
			DropSharers: n != nil && n.KeepNetns != nil && !n.GetKeepNetns()},
		Restart: RestartPolicyFromProto(in.GetRestart()), Health: healthCheckFromProto(in.GetHealthCheck()),
		StdinOnce: in.GetStdinOnce(), Attach: in.GetAttach(),
		Sysctls: in.GetSysctls(), UTS: in.GetUts(), Security: SecurityFromProto(in.GetSecurity()),
		Namespaces: NamespacesFromProto(in.GetNamespaces()), Annotations: in.GetAnnotations(),
		VolumesFrom: in.GetVolumesFrom(),
		Log:         logdriver.Config{Driver: in.GetLog().GetDriver(), Options: in.GetLog().GetOptions()},
	}
	if in != nil {
		c.Init = in.Init
	}

	if in.StopTimeout != nil {
		after := time.Duration(in.GetStopTimeout()) * time.Second
		c.StopTimeout = &after
	}

	var err error
	if c.Mounts, err = mountsFromProto(in.GetMounts()); err != nil {
		return c, err
	}

	if c.Resources, err = ResourcesFromProto(in.GetResources()); err != nil {
		return c, err
	}

	if c.Network.Attachments, err = attachmentsFromProto(n.GetNetworks()); err != nil {
		return c, err
	}

	c.Network = c.Network.Normalized()
	if c.Network.Addresses, err = portpb.AddressesFromProto(n.GetPublishAddresses()); err != nil {
		return c, err
	}

	if c.Network.Publish, err = portpb.MappingsFromProto(n.GetPublish()); err != nil {
		return c, err
	}

	c.Network.Expose, err = portpb.ExposedPortsFromProto(n.GetExpose())
	return c, err
}

var pullPolicies = map[containerv1.PullPolicy]container.PullPolicy{
	containerv1.PullPolicy_PULL_POLICY_ALWAYS: container.PullAlways,
	containerv1.PullPolicy_PULL_POLICY_NEVER:  container.PullNever,
}

// configToProto converts the configuration of a container to a message.
func configToProto(c *container.Config) *containerv1.ContainerConfig {
	out := &containerv1.ContainerConfig{
		Name: c.Name, Image: c.Image, Command: c.Command, Entrypoint: c.Entrypoint, Env: c.Env,
		WorkingDir: c.WorkingDir,
		User:       c.User, Labels: c.Labels, Tty: c.TTY, OpenStdin: c.OpenStdin, AutoRemove: c.AutoRemove,
		Runtime:  c.Runtime,
		Platform: c.Platform, StopSignal: c.StopSignal, Pull: containerv1.PullPolicy_PULL_POLICY_MISSING,
		Dns: &containerv1.DnsConfig{Hostname: c.DNS.Hostname, Domainname: c.DNS.Domainname, Servers: c.DNS.Servers,
			Search: c.DNS.Search, Options: c.DNS.Options, ExtraHosts: c.DNS.ExtraHosts},
		Network: &containerv1.NetworkConfig{Mode: string(c.Network.Mode),
			Publish:          portpb.MappingsToProto(c.Network.Publish),
			PublishAddresses: portpb.AddressesToProto(c.Network.Addresses),
			PublishAll:       c.Network.PublishAll, Expose: portpb.ExposedPortsToProto(c.Network.Expose),
			Networks: attachmentsToProto(c.Network.Attachments), Links: linksToProto(c.Network.Links),
			Egress: c.Network.Egress, Ingress: c.Network.Ingress,
			Bandwidth: bandwidthToProto(c.Network.Bandwidth), MaxConnections: c.Network.Limits.Connections,
			UnlimitedConnections: c.Network.Limits.AnyConnections,
			Packets:              packetsToProto(c.Network.Limits.Packets)},
		Sysctls: c.Sysctls, Uts: c.UTS, Resources: ResourcesToProto(c.Resources),
		Security: securityToProto(c.Security), Namespaces: namespacesToProto(c.Namespaces), Init: c.Init,
		Annotations: c.Annotations, Log: &containerv1.LogConfig{Driver: c.Log.Driver, Options: c.Log.Options},
		Restart: restartPolicyToProto(c.Restart), HealthCheck: healthCheckToProto(c.Health),
		StdinOnce: c.StdinOnce, Attach: c.Attach,
	}

	if keep := !c.Network.DropSharers; !keep {
		out.Network.KeepNetns = &keep
	}

	for wire, policy := range pullPolicies {
		if policy == c.Pull {
			out.Pull = wire
		}
	}

	if c.StopTimeout != nil {
		seconds := uint32(c.StopTimeout.Seconds())
		out.StopTimeout = &seconds
	}

	for _, m := range c.Mounts {
		out.Mounts = append(out.Mounts, mountToProto(m))
	}

	return out
}

// statuses holds the statuses by container.Container.State.
var statuses = map[string]containerv1.ContainerStatus{
	"created":    containerv1.ContainerStatus_CONTAINER_STATUS_CREATED,
	"running":    containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING,
	"paused":     containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED,
	"restarting": containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING,
	"exited":     containerv1.ContainerStatus_CONTAINER_STATUS_EXITED,
	"removing":   containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING,
	"dead":       containerv1.ContainerStatus_CONTAINER_STATUS_DEAD,
}

// RestartPolicyFromProto converts a restart policy. A count that is too large becomes the maximum.
func RestartPolicyFromProto(in *containerv1.RestartPolicy) container.RestartPolicy {
	return container.RestartPolicy{Name: in.GetName(),
		MaximumRetryCount: int(min(in.GetMaximumRetryCount(), math.MaxInt32))}
}

func restartPolicyToProto(p container.RestartPolicy) *containerv1.RestartPolicy {
	if p == (container.RestartPolicy{}) {
		return nil
	}
	return &containerv1.RestartPolicy{Name: p.Name, MaximumRetryCount: uint32(p.MaximumRetryCount)}
}

// ContainerToProto converts a container to a message.
func ContainerToProto(c *container.Container, logPath string, execs []string) *containerv1.Container {
	out := &containerv1.Container{
		Id: c.ID, Config: configToProto(effective(c)), ImageId: c.ImageID, Status: statuses[c.State()],
		ExitCode:    uint32(c.ExitCode),
		ExitUnknown: c.ExitUnknown, CreatedAt: timeToProto(c.CreatedAt), StartedAt: timeToProto(c.StartedAt),
		FinishedAt: timeToProto(c.FinishedAt),
		Exposed:    portpb.ExposedPortsToProto(c.Process.Exposed),
		Args:       c.Process.Args, LogPath: logPath, Error: c.Error,
		OomKilled: c.OOMKilled,
		Health:    healthToProto(c.Health), EffectiveHealthCheck: healthCheckToProto(c.Process.Health),
		ExecIds: execs, RestartCount: uint32(c.Restarts.Count),
		RuntimePath: c.RuntimePath, Hostname: c.Config.DNS.Hostname,
	}

	if live := c.Live; live != nil {
		out.Pid = uint32(live.PID)
		out.Bindings = portpb.BindingsToProto(live.Bindings)
		out.HostnamePath, out.HostsPath, out.ResolvConfPath = live.Files.Hostname, live.Files.Hosts,
			live.Files.ResolvConf
		out.Hostname = live.Files.HostName
		out.Sandbox = &networkv1.Sandbox{Owner: cmp.Or(live.SharedWith, c.ID), NetnsPath: live.NetnsPath,
			Endpoints: endpointsToProto(live.Endpoints),
			Mode:      networkv1.SandboxMode_SANDBOX_MODE_PRIVATE}
		if c.Config.Network.Mode == container.ModeHost {
			out.Sandbox.Mode = networkv1.SandboxMode_SANDBOX_MODE_HOST
		}
	}

	return out
}

// SummaryToProto converts what lists show of a container to a message.
func SummaryToProto(c *container.Container) *containerv1.Container {
	out := ContainerToProto(c, "", nil)
	cfg := out.GetConfig()
	cfg.Env, cfg.Command, cfg.Entrypoint, cfg.WorkingDir, cfg.User, cfg.StopSignal = nil, nil, nil, "", "", ""
	cfg.Dns, cfg.Resources, cfg.Security, cfg.Namespaces, cfg.Log, cfg.Sysctls = nil, nil, nil, nil, nil, nil
	out.LogPath, out.HostnamePath, out.HostsPath, out.ResolvConfPath, out.RuntimePath = "", "", "", "", ""
	return out
}

// effective returns the configuration of a container merged with its image's.
func effective(c *container.Container) *container.Config {
	cfg := c.Config
	cfg.Env, cfg.WorkingDir, cfg.User = c.Process.Env, c.Process.WorkingDir, c.Process.User
	cfg.Labels, cfg.StopSignal = c.Process.Labels, c.Process.StopSignal
	return &cfg
}

// timeToProto converts a time; the zero time becomes nil.
func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
