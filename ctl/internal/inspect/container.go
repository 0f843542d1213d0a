// Package inspect turns the agent's containers, images and networks into the JSON that `docker inspect` prints, for the parts of it that
// scripts commonly read. It is pure. Fields that Fairlead has nothing to say about are left out and never invented.
package inspect

import (
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Container is what `inspect` prints of a container.
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
	RestartCount    int // always 0: the agent restarts nothing by itself
	Driver          string
	Platform        string
	MountLabel      string // always empty, as are the next three: there are no labels, profiles and exec ids
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      HostConfig
	GraphDriver     GraphDriver
	SizeRw          *int64 `json:",omitempty"` // not measured, as is the next
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []Mount
	Config          Config
	NetworkSettings NetworkSettings
}

// GraphDriver is how the root file system is put together. Where its directories are is not told.
type GraphDriver struct {
	Name string
	Data map[string]string
}

// RestartPolicy is what is done when the process ends. It is always none: "no".
type RestartPolicy struct {
	Name              string
	MaximumRetryCount int
}

// Health is what health checks found. There are none: the status is "none".
type Health struct {
	Status        string
	FailingStreak int
	Log           []string
}

// State is where in its life the container is.
type State struct {
	Status     string
	Running    bool
	Paused     bool // always false, as are the next two
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

// Config is what the container runs: its own settings over its image's.
type Config struct {
	Hostname     string
	Domainname   string
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	AttachStdin  bool                // of the client that created it: not recorded
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Healthcheck  *struct{} `json:",omitempty"` // always absent
	Env          []string
	Cmd          []string
	Image        string
	Volumes      map[string]struct{} // always null: there are none
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int64 `json:",omitempty"` // -1: no limit
}

// Mount is one bind mount.
type Mount struct {
	Type        string
	Source      string
	Destination string
	Mode        string
	RW          bool
	Propagation string
}

// FromContainer makes the document of a container. Its image is asked for the entrypoint and the command only, which the agent leaves as the user
// gave them; it may be nil if it is not known any more.
func FromContainer(c *containerv1.Container, image *containerv1.Image) *Container {
	cfg := c.GetConfig()
	doc := &Container{
		ID:              c.GetId(),
		Created:         stamp(c.GetCreatedAt()),
		Args:            []string{},
		State:           stateOf(c),
		Image:           c.GetImageId(),
		ResolvConfPath:  c.GetResolvConfPath(),
		HostnamePath:    c.GetHostnamePath(),
		HostsPath:       c.GetHostsPath(),
		LogPath:         c.GetLogPath(),
		Name:            "/" + cfg.GetName(),
		Driver:          "overlay",
		GraphDriver:     GraphDriver{Name: "overlay"},
		Platform:        "linux",
		HostConfig:      hostConfigOf(cfg),
		Mounts:          mountsOf(cfg),
		Config:          configOf(c, imageConfig(image)),
		NetworkSettings: networkSettingsOf(c),
	}
	if args := c.GetArgs(); len(args) > 0 {
		doc.Path, doc.Args = args[0], args[1:]
	}
	return doc
}

var statusWords = map[containerv1.ContainerStatus]string{
	containerv1.ContainerStatus_CONTAINER_STATUS_CREATED:  "created",
	containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING:  "running",
	containerv1.ContainerStatus_CONTAINER_STATUS_EXITED:   "exited",
	containerv1.ContainerStatus_CONTAINER_STATUS_REMOVING: "removing",
}

// Status is Docker's word for where in its life a container is.
func Status(s containerv1.ContainerStatus) string { return statusWords[s] }

func stateOf(c *containerv1.Container) State {
	return State{
		Status:     Status(c.GetStatus()),
		Running:    c.GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING,
		OOMKilled:  c.GetOomKilled(),
		Pid:        c.GetPid(),
		ExitCode:   c.GetExitCode(),
		Error:      c.GetError(),
		StartedAt:  stamp(c.GetStartedAt()),
		FinishedAt: stamp(c.GetFinishedAt()),
		Health:     Health{Status: "none", Log: []string{}},
	}
}

// stamp writes a time as Docker does, and its zero time for one that is absent.
func stamp(t *timestamppb.Timestamp) string {
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
		Labels:       labels(cfg.GetLabels()),
		StopSignal:   cfg.GetStopSignal(),
		StopTimeout:  stopTimeout(cfg.StopTimeout),
	}
	// An entrypoint that the user gives drops the image's command with the image's entrypoint.
	if len(out.Entrypoint) == 0 {
		out.Entrypoint = image.Entrypoint
		if len(out.Cmd) == 0 {
			out.Cmd = image.Cmd
		}
	}
	return out
}

// stopTimeout is -1 for no limit, which the agent has as the largest number.
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

// labels keeps having none from being printed as null.
func labels(l map[string]string) map[string]string {
	if l == nil {
		return map[string]string{}
	}
	return l
}

func mountsOf(cfg *containerv1.ContainerConfig) []Mount {
	out := []Mount{}
	for _, m := range cfg.GetMounts() {
		mode := ""
		if m.GetReadOnly() {
			mode = "ro"
		}
		out = append(out, Mount{Type: "bind", Source: m.GetSource(), Destination: m.GetTarget(), Mode: mode, RW: !m.GetReadOnly(),
			Propagation: cmp.Or(m.GetPropagation(), "rprivate")})
	}
	return out
}

// mask is the length of a prefix in CIDR form, zero for an empty one.
func mask(cidr string) int {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return 0
	}
	return p.Bits()
}

// bare is the address of a prefix in CIDR form, empty for an empty one.
func bare(cidr string) string {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}

// Indent writes documents as `inspect` prints them: an array, indented by four blanks.
func Indent(documents []any) ([]byte, error) {
	return json.MarshalIndent(documents, "", "    ")
}
