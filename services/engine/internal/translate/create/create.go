package create

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"google.golang.org/protobuf/types/known/durationpb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/mounts"
	"github.com/fairlead/fairlead/services/engine/internal/translate/systempaths"
)

// Options are the parameters of the query.
type Options struct {
	Name     string
	Platform string
	Version  apiversion.Version
}

// ToProto returns the configuration of the container, and warnings for the user.
func (b *Body) ToProto(o Options) (*containerv1.ContainerConfig, []string, error) {
	if err := b.checkUnsupported(); err != nil {
		return nil, nil, err
	}
	all, err := mounts.ToProto(mounts.Request{Binds: b.HostConfig.Binds, Mounts: b.HostConfig.Mounts,
		Tmpfs: b.HostConfig.Tmpfs, Volumes: b.Volumes, Driver: b.HostConfig.VolumeDriver})
	if err != nil {
		return nil, nil, err
	}
	net, warnings, err := b.network(o.Version)
	if err != nil {
		return nil, nil, err
	}
	resources, err := ResourcesToProto(&b.HostConfig.Resources)
	if err != nil {
		return nil, nil, err
	}
	resources.ShmSize = b.HostConfig.ShmSize
	if n := int32(b.HostConfig.OomScoreAdj); n != 0 {
		resources.OomScoreAdj = &n
	}

	h := &b.HostConfig
	restart, err := RestartToProto(h.RestartPolicy)
	if err != nil {
		return nil, nil, err
	}
	cfg := &containerv1.ContainerConfig{
		Name: o.Name, Image: b.Image, Platform: o.Platform, Pull: containerv1.PullPolicy_PULL_POLICY_NEVER,
		Command: b.Cmd, Entrypoint: b.entrypoint(), Env: assigned(b.Env), WorkingDir: b.WorkingDir, User: b.User,
		Mounts: all, VolumesFrom: h.VolumesFrom, Labels: b.Labels, Tty: b.Tty, OpenStdin: b.OpenStdin,
		StdinOnce: b.StdinOnce, Attach: b.attached(), AutoRemove: h.AutoRemove, Runtime: h.Runtime,
		StopSignal: b.StopSignal, StopTimeout: stopTimeout(b.StopTimeout), Network: net, Dns: b.dns(),
		Sysctls: h.Sysctls, Uts: string(h.UTSMode), Resources: resources, Security: b.security(),
		Namespaces: &containerv1.Namespaces{Ipc: string(h.IpcMode), Pid: string(h.PidMode),
			Cgroup: string(h.CgroupnsMode), User: string(h.UsernsMode), CgroupParent: h.CgroupParent},
		Init: h.Init, Annotations: h.Annotations, Restart: restart,
		HealthCheck: b.healthCheck(),
	}
	if h.LogConfig.Type != "" || len(h.LogConfig.Config) > 0 {
		cfg.Log = &containerv1.LogConfig{Driver: h.LogConfig.Type, Options: h.LogConfig.Config}
	}
	return cfg, warnings, nil
}

// entrypoint returns the entrypoint. An empty list removes that of the image.
func (b *Body) entrypoint() []string {
	if b.Entrypoint != nil && len(b.Entrypoint) == 0 {
		return []string{""}
	}
	return b.Entrypoint
}

// attached returns the streams that the client attaches.
func (b *Body) attached() (all []string) {
	for _, s := range []struct {
		name string
		on   bool
	}{{"stdin", b.AttachStdin}, {"stdout", b.AttachStdout}, {"stderr", b.AttachStderr}} {
		if s.on {
			all = append(all, s.name)
		}
	}
	return all
}

// stopTimeout converts seconds; -1 means that there is no limit.
func stopTimeout(seconds *int) *uint32 {
	if seconds == nil {
		return nil
	}
	n := uint32(math.MaxUint32)
	if *seconds >= 0 {
		n = uint32(min(*seconds, math.MaxUint32))
	}
	return &n
}

func (b *Body) dns() *containerv1.DnsConfig {
	h := &b.HostConfig
	dns := &containerv1.DnsConfig{Hostname: b.Hostname, Domainname: b.Domainname, Search: h.DNSSearch,
		Options: h.DNSOptions, ExtraHosts: h.ExtraHosts}
	for _, a := range h.DNS {
		dns.Servers = append(dns.Servers, a.String())
	}
	return dns
}

// RestartToProto converts a restart policy. A negative count is refused here: the field of the services has no sign.
func RestartToProto(p container.RestartPolicy) (*containerv1.RestartPolicy, error) {
	if p.Name == "" && p.MaximumRetryCount == 0 {
		return nil, nil
	}
	if p.MaximumRetryCount < 0 {
		const text = "invalid restart policy: maximum retry count "
		if p.IsOnFailure() {
			return nil, httpapi.Errorf(http.StatusBadRequest, text+"cannot be negative")
		}
		return nil, httpapi.Errorf(http.StatusBadRequest,
			text+"can only be used with 'on-failure' and cannot be negative")
	}
	return &containerv1.RestartPolicy{Name: string(p.Name),
		MaximumRetryCount: uint32(min(p.MaximumRetryCount, math.MaxInt32))}, nil
}

func (b *Body) healthCheck() *containerv1.HealthCheck {
	h := b.Healthcheck
	if h == nil {
		return nil
	}
	duration := func(d time.Duration) *durationpb.Duration {
		if d == 0 {
			return nil
		}
		return durationpb.New(d)
	}
	return &containerv1.HealthCheck{Test: h.Test, Interval: duration(h.Interval), Timeout: duration(h.Timeout),
		StartPeriod: duration(h.StartPeriod), StartInterval: duration(h.StartInterval),
		Retries: uint32(max(0, min(h.Retries, math.MaxInt32)))}
}

// checkUnsupported rejects what no option of a container stands for.
func (b *Body) checkUnsupported() error {
	h := &b.HostConfig
	for _, c := range []struct {
		field string
		given bool
		hint  string
	}{
		{"HostConfig.DeviceRequests.Options", slices.ContainsFunc(h.DeviceRequests,
			func(r container.DeviceRequest) bool { return len(r.Options) > 0 }), "a CDI specification has none"},
		{"HostConfig.StorageOpt", len(h.StorageOpt) > 0, "the storage driver has no options"},
		{"HostConfig.Cgroup", h.Cgroup != "", "use HostConfig.CgroupParent"},
		{"HostConfig.Isolation", h.Isolation != "" && !h.Isolation.IsDefault(), "it is for Windows"},
		{"HostConfig.CpuRealtimePeriod and CpuRealtimeRuntime", h.CPURealtimePeriod != 0 || h.CPURealtimeRuntime != 0,
			"the kernel removed them with cgroup v2"},
		{"HostConfig.Umask", h.Umask != nil, "set it in the command, as in sh -c 'umask 077 && exec …'"},
		{"HostConfig.MaskedPaths and ReadonlyPaths", customPaths(h),
			"leave them out for the default, or set both to [] for none"},
	} {
		if c.given {
			return httpapi.Errorf(http.StatusBadRequest, "%s: is not supported; %s", c.field, c.hint)
		}
	}
	if len(b.Config.Labels) > 0 {
		return checkLabels(b.Labels)
	}
	return nil
}

// customPaths reports whether a list of system paths is neither the default nor empty.
func customPaths(h *container.HostConfig) bool {
	return len(h.MaskedPaths) > 0 && !systempaths.IsDefault(h.MaskedPaths, systempaths.Masked()) ||
		len(h.ReadonlyPaths) > 0 && !systempaths.IsDefault(h.ReadonlyPaths, systempaths.Readonly())
}

// security returns the privileges.
func (b *Body) security() *containerv1.Security {
	h := &b.HostConfig
	s := &containerv1.Security{Privileged: h.Privileged, CapAdd: h.CapAdd, CapDrop: h.CapDrop,
		DeviceCgroupRules: h.DeviceCgroupRules, Groups: h.GroupAdd, ReadOnly: h.ReadonlyRootfs}
	for _, o := range h.SecurityOpt {
		s.Options = append(s.Options, securityOption(o))
	}
	if h.MaskedPaths != nil && h.ReadonlyPaths != nil && len(h.MaskedPaths)+len(h.ReadonlyPaths) == 0 {
		s.Options = append(s.Options, "systempaths=unconfined")
	}
	for _, r := range h.DeviceRequests {
		request := &containerv1.DeviceRequest{Driver: r.Driver, Count: int32(max(-2, min(r.Count, math.MaxInt32))),
			DeviceIds: r.DeviceIDs}
		for _, names := range r.Capabilities {
			request.Capabilities = append(request.Capabilities, &containerv1.Capabilities{Names: names})
		}
		s.DeviceRequests = append(s.DeviceRequests, request)
	}
	for _, d := range h.Devices {
		s.Devices = append(s.Devices, &containerv1.Device{HostPath: d.PathOnHost, ContainerPath: d.PathInContainer,
			Permissions: d.CgroupPermissions})
	}
	return s
}

// securityOption converts the notation with a colon, which old clients use.
func securityOption(o string) string {
	key, value, ok := strings.Cut(o, ":")
	if ok && !strings.Contains(key, "=") {
		return fmt.Sprintf("%s=%s", key, value)
	}
	return o
}

// assigned returns the variables with a value. The others, which clients send for -e NAME without a
// variable of that name, are not set, as in Docker.
func assigned(env []string) (out []string) {
	for _, variable := range env {
		if strings.Contains(variable, "=") {
			out = append(out, variable)
		}
	}
	return out
}
