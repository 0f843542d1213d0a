// Package inspect converts the agent's containers, images and networks to the JSON of `docker
// inspect`. Fields without a counterpart in Fairlead are omitted or have Docker's default. The
// package performs no I/O.
package inspect

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Container is the document of a container.
type Container struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           State
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    uint32
	Driver          string
	Platform        string
	MountLabel      string // always empty, like the next three
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      HostConfig
	GraphDriver     GraphDriver
	SizeRw          *int64 `json:",omitempty"` // not measured, like the next
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []Mount
	Config          Config
	NetworkSettings NetworkSettings
}

// GraphDriver is the storage driver of the root file system. Its directories are not listed.
type GraphDriver struct {
	Name string
	Data map[string]string
}

// RestartPolicy is the restart policy of the container.
type RestartPolicy struct {
	Name              string
	MaximumRetryCount uint32
}

// Health is the result of health checks. The status is "none" without a health check.
type Health struct {
	Status        string
	FailingStreak uint32
	Log           []HealthResult
}

// HealthResult is the result of one health check.
type HealthResult struct {
	Start, End string
	ExitCode   int32
	Output     string
}

// Healthcheck is a health check. Times are in nanoseconds.
type Healthcheck struct {
	Test          []string `json:",omitempty"`
	Interval      int64    `json:",omitempty"`
	Timeout       int64    `json:",omitempty"`
	StartPeriod   int64    `json:",omitempty"`
	StartInterval int64    `json:",omitempty"`
	Retries       uint32   `json:",omitempty"`
}

// State is the state of the container's process.
type State struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        uint32
	ExitCode   uint32
	Error      string
	StartedAt  string
	FinishedAt string
	Health     Health
}

// Config is the configuration of the container, with the settings of its image.
type Config struct {
	Hostname     string
	Domainname   string
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Healthcheck  *Healthcheck `json:",omitempty"`
	Env          []string
	Cmd          []string
	Image        string
	Volumes      map[string]struct{} // targets of anonymous volumes
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int64 `json:",omitempty"` // -1: no limit
}

// Mount is a mount of a container.
type Mount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// FromContainer returns the document of a container. The image provides the default entrypoint and
// command; it can be nil.
func FromContainer(c *containerv1.Container, image *containerv1.Image) *Container {
	cfg := c.GetConfig()
	doc := &Container{
		ID:              c.GetId(),
		Created:         formatTime(c.GetCreatedAt()),
		Args:            []string{},
		State:           stateOf(c),
		Image:           c.GetImageId(),
		ResolvConfPath:  c.GetResolvConfPath(),
		HostnamePath:    c.GetHostnamePath(),
		HostsPath:       c.GetHostsPath(),
		LogPath:         c.GetLogPath(),
		Name:            "/" + cfg.GetName(),
		RestartCount:    c.GetRestartCount(),
		ExecIDs:         c.GetExecIds(),
		Driver:          "overlay",
		GraphDriver:     GraphDriver{Name: "overlay"},
		Platform:        "linux",
		HostConfig:      hostConfigOf(cfg),
		Mounts:          mountsOf(cfg),
		Config:          configOf(c, imageConfig(image)),
		NetworkSettings: networkSettingsOf(c),
		SizeRw:          c.SizeRw,
		SizeRootFs:      c.SizeRootFs,
	}
	if args := c.GetArgs(); len(args) > 0 {
		doc.Path, doc.Args = args[0], args[1:]
	}

	return doc
}

var statusWords = map[containerv1.ContainerStatus]string{
	containerv1.ContainerStatus_CONTAINER_STATUS_CREATED:    "created",
	containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:    "running",
	containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED:     "paused",
	containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING: "restarting",
	containerv1.ContainerStatus_CONTAINER_STATUS_EXITED:     "exited",
	containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING:   "removing",
	containerv1.ContainerStatus_CONTAINER_STATUS_DEAD:       "dead",
}

// Status returns Docker's word for the status of a container.
func Status(s containerv1.ContainerStatus) string { return statusWords[s] }

// HasProcess reports whether the process of a container exists. It can be paused.
func HasProcess(c *containerv1.Container) bool {
	return c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING ||
		c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED
}

// IsRunning reports whether a container is running in Docker's sense: its process exists, or is
// started again by the restart policy.
func IsRunning(c *containerv1.Container) bool {
	return HasProcess(c) || c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING
}

func stateOf(c *containerv1.Container) State {
	return State{
		Status:     Status(c.GetStatus()),
		Running:    IsRunning(c),
		Paused:     c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_PAUSED,
		Restarting: c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RESTARTING,
		Dead:       c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_DEAD,
		OOMKilled:  c.GetOomKilled(),
		Pid:        c.GetPid(),
		ExitCode:   c.GetExitCode(),
		Error:      c.GetError(),
		StartedAt:  formatTime(c.GetStartedAt()),
		FinishedAt: formatTime(c.GetFinishedAt()),
		Health:     healthOf(c),
	}
}

// HealthStatus returns Docker's word for the health of a container.
func HealthStatus(c *containerv1.Container) string {
	switch c.GetHealth().GetStatus() {
	case containerv1.HealthStatus_HEALTH_STATUS_STARTING:
		return "starting"
	case containerv1.HealthStatus_HEALTH_STATUS_HEALTHY:
		return "healthy"
	case containerv1.HealthStatus_HEALTH_STATUS_UNHEALTHY:
		return "unhealthy"
	}
	return "none"
}

func healthOf(c *containerv1.Container) Health {
	h := Health{Status: HealthStatus(c), FailingStreak: c.GetHealth().GetFailingStreak(), Log: []HealthResult{}}
	for _, r := range c.GetHealth().GetLog() {
		h.Log = append(h.Log, HealthResult{Start: formatTime(r.GetStart()), End: formatTime(r.GetEnd()),
			ExitCode: r.GetExitCode(), Output: r.GetOutput()})
	}
	return h
}

// healthcheckOf returns the health check in effect, or the one that disables the image's.
func healthcheckOf(c *containerv1.Container) *Healthcheck {
	h := c.GetEffectiveHealthCheck()
	if h == nil {
		h = c.GetConfig().GetHealthCheck()
	}
	if h == nil {
		return nil
	}
	return &Healthcheck{Test: h.GetTest(), Interval: int64(h.GetInterval().AsDuration()),
		Timeout: int64(h.GetTimeout().AsDuration()), StartPeriod: int64(h.GetStartPeriod().AsDuration()),
		StartInterval: int64(h.GetStartInterval().AsDuration()), Retries: h.GetRetries()}
}

// formatTime formats a time as Docker does; nil is the zero time.
func formatTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return time.Time{}.Format(time.RFC3339Nano)
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

func configOf(c *containerv1.Container, image ImageConfig) Config {
	cfg := c.GetConfig()
	out := Config{
		Hostname:     c.GetHostname(),
		Domainname:   cfg.GetDns().GetDomainname(),
		User:         cfg.GetUser(),
		ExposedPorts: exposedOf(c.GetExposed()),
		Tty:          cfg.GetTty(),
		OpenStdin:    cfg.GetOpenStdin(),
		Env:          list(cfg.GetEnv()),
		Cmd:          cfg.GetCommand(),
		Image:        cfg.GetImage(),
		WorkingDir:   cfg.GetWorkingDir(),
		Entrypoint:   cfg.GetEntrypoint(),
		Volumes:      volumePaths(cfg.GetMounts()),
		Labels:       labels(cfg.GetLabels()),
		StopSignal:   cfg.GetStopSignal(),
		StopTimeout:  stopTimeout(cfg.StopTimeout),
		StdinOnce:    cfg.GetStdinOnce(),
		AttachStdin:  slices.Contains(cfg.GetAttach(), "stdin"),
		AttachStdout: slices.Contains(cfg.GetAttach(), "stdout"),
		AttachStderr: slices.Contains(cfg.GetAttach(), "stderr"),
		Healthcheck:  healthcheckOf(c),
	}
	// An entrypoint of the user also replaces the image's command.
	if len(out.Entrypoint) == 0 {
		out.Entrypoint = image.Entrypoint
		if len(out.Cmd) == 0 {
			out.Cmd = image.Cmd
		}
	}

	return out
}

// stopTimeout converts a timeout. No limit is -1, which the agent stores as the largest number.
func stopTimeout(seconds *uint32) *int64 {
	if seconds == nil {
		return nil
	}
	n := int64(*seconds)
	if n == math.MaxUint32 {
		n = -1
	}
	return &n
}

// labels returns an empty map instead of nil, so that it is not printed as null.
func labels(l map[string]string) map[string]string {
	if l == nil {
		return map[string]string{}
	}
	return l
}

// prefixLength returns the length of a prefix in CIDR form, or zero.
func prefixLength(cidr string) int {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return 0
	}
	return p.Bits()
}

// addressOf returns the address of a prefix in CIDR form, or an empty string.
func addressOf(cidr string) string {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}

// Indent returns documents as a JSON array, indented by four spaces.
func Indent(documents []any) ([]byte, error) {
	return json.MarshalIndent(documents, "", "    ")
}
