// Package inspect translates a container to Docker's documents of it. It performs no I/O.
package inspect

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/translate/legacy"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Driver is the name of the storage driver.
const Driver = "overlay2"

// Document is the answer to GET /containers/{id}/json.
type Document struct {
	*container.InspectResponse
	HostConfig      legacy.HostConfig
	Config          legacy.Config
	NetworkSettings legacy.NetworkSettings
}

// Sizes are the sizes of the root file system of a container.
type Sizes struct{ Writable, Root int64 }

// FromProto returns the document. image has the default entrypoint and command; it can be nil, like
// sizes.
func FromProto(c *containerv1.Container, image *containerv1.Image, sizes *Sizes, v apiversion.Version) *Document {
	cfg := c.GetConfig()
	doc := &container.InspectResponse{
		ID: c.GetId(), Created: state.Time(c.GetCreatedAt()), Args: []string{}, State: state.FromProto(c),
		Image: c.GetImageId(), ResolvConfPath: c.GetResolvConfPath(), HostnamePath: c.GetHostnamePath(),
		HostsPath: c.GetHostsPath(), LogPath: c.GetLogPath(), Name: "/" + cfg.GetName(),
		RestartCount: int(c.GetRestartCount()), Driver: Driver, Platform: "linux", ExecIDs: c.GetExecIds(),
		GraphDriver: &storage.DriverData{Name: Driver, Data: map[string]string{}}, Mounts: Mounts(cfg.GetMounts()),
		AppArmorProfile: "",
	}
	if args := c.GetArgs(); len(args) > 0 {
		doc.Path, doc.Args = args[0], args[1:]
	}
	if sizes != nil {
		doc.SizeRw, doc.SizeRootFs = &sizes.Writable, &sizes.Root
	}

	networks := Networks(c, v)
	settings := container.NetworkSettings{SandboxID: sandboxID(c), SandboxKey: c.GetSandbox().GetNetnsPath(),
		Ports: Ports(c), Networks: networks}
	primary := networks[Mode(cfg.GetNetwork())]
	return &Document{InspectResponse: doc, HostConfig: legacy.HostConfigOf(hostConfig(cfg), v),
		Config:          legacy.Config{Config: config(c, image), MacAddress: containerMAC(cfg, v)},
		NetworkSettings: legacy.NetworkSettingsOf(settings, primary, v)}
}

// sandboxID returns the ID of the network namespace, which is that of the container.
func sandboxID(c *containerv1.Container) string {
	if c.GetSandbox() == nil {
		return ""
	}
	return c.GetId()
}

// containerMAC returns the requested MAC address of the first network.
func containerMAC(cfg *containerv1.ContainerConfig, v apiversion.Version) string {
	if all := cfg.GetNetwork().GetNetworks(); v.Before(52) && len(all) > 0 {
		return all[0].GetMacAddress()
	}
	return ""
}

// config returns the portable part of the configuration.
func config(c *containerv1.Container, image *containerv1.Image) *container.Config {
	cfg := c.GetConfig()
	out := &container.Config{
		Hostname: hostname(c), Domainname: cfg.GetDns().GetDomainname(), User: cfg.GetUser(),
		AttachStdin:  slices.Contains(cfg.GetAttach(), "stdin"),
		AttachStdout: slices.Contains(cfg.GetAttach(), "stdout"),
		AttachStderr: slices.Contains(cfg.GetAttach(), "stderr"),
		ExposedPorts: exposed(c.GetExposed()), Tty: cfg.GetTty(), OpenStdin: cfg.GetOpenStdin(),
		StdinOnce: cfg.GetStdinOnce(), Env: orEmpty(cfg.GetEnv()), Cmd: cfg.GetCommand(), Image: cfg.GetImage(),
		Volumes: volumes(cfg.GetMounts()), WorkingDir: cfg.GetWorkingDir(), Entrypoint: cfg.GetEntrypoint(),
		Labels: labels(cfg), StopSignal: cfg.GetStopSignal(), StopTimeout: stopTimeout(cfg.StopTimeout),
		Healthcheck: healthcheck(c),
	}
	if slices.Equal(out.Entrypoint, []string{""}) {
		out.Entrypoint = nil
		return out
	}
	// An entrypoint of the user also replaces the command of the image.
	if len(out.Entrypoint) == 0 {
		defaults := imageConfig(image)
		out.Entrypoint = defaults.Entrypoint
		if len(out.Cmd) == 0 {
			out.Cmd = defaults.Cmd
		}
	}
	return out
}

// hostname returns the hostname, which is the short ID by default.
func hostname(c *containerv1.Container) string {
	if Shares(c.GetConfig().GetNetwork()) {
		return c.GetHostname()
	}
	return cmp.Or(c.GetHostname(), c.GetConfig().GetDns().GetHostname(), id.Short(c.GetId()))
}

// imageConfig returns the execution part of the configuration of an image.
func imageConfig(image *containerv1.Image) (out struct{ Entrypoint, Cmd []string }) {
	var doc struct {
		Config *struct{ Entrypoint, Cmd []string } `json:"config"`
	}
	if err := json.Unmarshal(image.GetConfig(), &doc); err == nil && doc.Config != nil {
		return *doc.Config
	}
	return out
}

// stopTimeout converts a timeout. No limit is -1, which messages hold as the largest number.
func stopTimeout(seconds *uint32) *int {
	if seconds == nil {
		return nil
	}
	n := int(*seconds)
	if n == math.MaxUint32 {
		n = -1
	}
	return &n
}

// healthcheck returns the health check in effect, or the one that disables the image's.
func healthcheck(c *containerv1.Container) *container.HealthConfig {
	h := c.GetEffectiveHealthCheck()
	if h == nil {
		h = c.GetConfig().GetHealthCheck()
	}
	if h == nil {
		return nil
	}
	return &container.HealthConfig{Test: h.GetTest(), Interval: h.GetInterval().AsDuration(),
		Timeout: h.GetTimeout().AsDuration(), StartPeriod: h.GetStartPeriod().AsDuration(),
		StartInterval: h.GetStartInterval().AsDuration(), Retries: int(h.GetRetries())}
}

// orEmpty returns an empty list instead of nil, so that it is not null in JSON.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
