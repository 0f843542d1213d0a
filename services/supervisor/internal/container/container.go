// Package container defines the supervisor's containers: configuration, validation, defaults of the
// image, and state. It performs no I/O and calls no other service. All packages of the supervisor
// use it.
package container

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/proto/egress"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// Config is the configuration of a container as requested by the user.
// The fields correspond to fairlead.container.v1.ContainerConfig.
type Config struct {
	Name        string
	Image       string // as the user wrote it
	Command     []string
	Entrypoint  []string // nil means the image's entrypoint, one empty string means none
	Env         []string
	WorkingDir  string
	User        string
	Mounts      []Mount
	Labels      map[string]string
	TTY         bool
	OpenStdin   bool
	StdinOnce   bool     `json:",omitempty"` // input ends with the first attached client
	Attach      []string `json:",omitempty"` // streams of the creating client, for display
	AutoRemove  bool
	Runtime     string
	Platform    string
	StopSignal  string
	StopTimeout *time.Duration // nil means DefaultStopTimeout
	Pull        PullPolicy
	Network     Network
	DNS         DNS
	Sysctls     map[string]string // of the container's own namespaces
	UTS         string            // UTSHost, or empty for a UTS namespace of its own
	Resources   resource.Limits
	Security    Security
	Namespaces  Namespaces
	Log         logdriver.Config
	Init        *bool              `json:",omitempty"` // run an init process; nil: the agent's default
	Annotations map[string]string  `json:",omitempty"` // for the OCI runtime
	VolumesFrom []string           `json:",omitempty"` // CONTAINER[:ro|:rw]; empty once Mounts has their mounts
	Restart     RestartPolicy      `json:",omitzero"`
	Health      *healthcheck.Check `json:",omitempty"` // nil means the image's
}

// UTSHost is the UTS mode of a container that shares the UTS namespace of the host.
const UTSHost = "host"

// DefaultStopTimeout is the time between the stop signal and SIGKILL.
const DefaultStopTimeout = 10 * time.Second

// PullPolicy determines when an image is pulled.
type PullPolicy int

// Pull policies.
const (
	PullMissing PullPolicy = iota
	PullAlways
	PullNever
)

// DNS is the configuration of a container's name files and resolver.
type DNS struct {
	Hostname   string
	Domainname string
	Servers    []string
	Search     []string
	Options    []string
	ExtraHosts []string // NAME:ADDRESS
}

// Status is the state of a container.
type Status string

// Statuses. A container that is Launching when the supervisor starts is removed: its launch was
// interrupted.
const (
	Launching  Status = "launching"
	Created    Status = "created"
	Running    Status = "running"
	Restarting Status = "restarting" // exited, and started again by its restart policy
	Exited     Status = "exited"
	Removing   Status = "removing"
)

// Container is a container with all of its stored state.
// A stored Container is immutable; the methods that change one return a copy.
type Container struct {
	ID        string
	Config    Config
	ImageID   string
	Process   Process // the configuration merged with the image's
	Status    Status
	CreatedAt time.Time

	StartedAt   time.Time // zero if never started
	FinishedAt  time.Time // zero if it never exited
	ExitCode    int
	ExitUnknown bool // no monitor recorded the exit status; ExitCode is 137
	OOMKilled   bool
	Error       string // error of the last failed start

	RuntimePath string
	Live        *RunState           // nil unless it is running
	Restarts    Restarts            `json:",omitzero"`
	Health      *healthcheck.Health `json:",omitempty"` // nil without a health check
	Dead        bool                `json:",omitempty"` // the removal failed
	Change      *Change             `json:",omitempty"` // incomplete change of its networks or its name
	Ending      *Ending             `json:",omitempty"` // incomplete stop, restart or removal

	RemoveVolumes bool `json:",omitempty"` // its anonymous volumes are removed with it
}

// Change is an incomplete change of a container's networks or name.
// It is stored before other services are called, and removed when all of them match the
// configuration.
type Change struct {
	Network string
	Connect *Attachment `json:",omitempty"` // nil means a disconnect
	Renamed bool        `json:",omitempty"` // the container was renamed; Network is empty
}

// Disconnects reports whether the change is a disconnect from a network. It is false for nil.
func (c *Change) Disconnects(network string) bool {
	return c != nil && !c.Renamed && c.Connect == nil && c.Network == network
}

// RunState is the state of a running container.
type RunState struct {
	PID    int
	Paused bool `json:",omitempty"` // the processes are frozen
	// Committing means that they are frozen for a commit only.
	Committing bool   `json:",omitempty"`
	NetnsPath  string // empty in host mode
	LogSize    int64  `json:",omitempty"` // bytes of one log file; 0 means unlimited
	LogFiles   int    `json:",omitempty"` // log files to keep
	// SharedWith is the owner of the network namespace if that is another container.
	SharedWith string
	Endpoints  []Endpoint
	Bindings   []port.Binding
	Files      NameFiles
	// HostGateways are the addresses that host-gateway was replaced by, empty if the container does
	// not use it.
	HostGateways []string
}

// Endpoint is an attachment of a container to a network. Addresses are in CIDR form; missing ones
// are empty.
type Endpoint struct {
	ID, NetworkID, NetworkName string
	Interface, HostInterface   string
	MAC                        string
	IPv4, IPv4Gateway          string
	IPv6, IPv6Gateway          string
	Bridge                     string
	Driver                     string
	HostBinding                string   // host address of port mappings without one
	Internal                   bool     // the network is internal
	Servers                    []string // name servers of the network
	Egress                     []string `json:",omitempty"` // rules of the network for containers without others
	Search                     []string `json:",omitempty"` // search domains of the network

	// Limits are those of the network, DefaultLimits those of the configuration for networks without.
	Limits, DefaultLimits egress.Defaults `json:",omitzero"`

	Leases []Lease `json:",omitempty"` // DHCP leases of the addresses
}

// Lease is a DHCP lease. Missing times are zero.
type Lease struct {
	By, Address, Server            string
	Granted, Renew, Rebind, Expire time.Time
	NameServers                    []string
	Search                         []string `json:",omitempty"`
	Routes                         []string `json:",omitempty"`
}

// NameFiles holds the host paths of a container's name files, and its host name.
type NameFiles struct {
	Hostname, Hosts, ResolvConf string // paths
	HostName                    string
}

// IsRunning reports whether the container is running.
func (c *Container) IsRunning() bool { return c.Status == Running }

// Subject returns the container's name for messages.
func (c *Container) Subject() string { return Subject(c.Config.Name) }

// NotRunning returns the fault for an operation that requires a running container.
func NotRunning(subject, uid string) error {
	return fault.New(fault.Busy, subject, "Container "+id.Short(uid)+" is not running",
		fault.WithHint("start it first"))
}

// Subject returns the subject of a fault about the container with a name or reference. The name of a
// new container can still be empty.
func Subject(name string) string { return strings.TrimSuffix("container "+name, " ") }

// StopTimeout returns the time between the stop signal and SIGKILL.
func (c *Container) StopTimeout() time.Duration {
	if c.Config.StopTimeout != nil {
		return *c.Config.StopTimeout
	}
	return DefaultStopTimeout
}

// Started returns a copy in status Running.
func (c *Container) Started(live RunState, at time.Time) *Container {
	n := *c
	n.Status, n.Live, n.StartedAt, n.FinishedAt = Running, &live, at, time.Time{}
	n.ExitCode, n.ExitUnknown, n.OOMKilled, n.Error, n.Ending = 0, false, false, "", nil
	if n.Health = nil; c.Process.Health != nil {
		n.Health = &healthcheck.Health{Status: healthcheck.Starting}
	}
	return &n
}

// Exit is the exit status of a process.
type Exit struct {
	Code    int
	Unknown bool
	OOM     bool
	At      time.Time
}

// Ended returns a copy with the exit recorded. Its status is Removing if the container is to be
// removed, otherwise Exited.
func (c *Container) Ended(e Exit) *Container {
	n := *c
	n.Status, n.Live, n.FinishedAt = Exited, nil, e.At
	n.ExitCode, n.ExitUnknown, n.OOMKilled = e.Code, e.Unknown, e.OOM
	if c.Health != nil {
		unhealthy := *c.Health
		unhealthy.Status = healthcheck.Unhealthy // as in Docker
		n.Health = &unhealthy
	}

	switch {
	case c.Status == Removing:
		n.Status = Removing
	case c.Ending == nil || c.Ending.Goal == GoalRestarted: // completed by the following start
	case c.Ending.Goal == GoalRemoved:
		n.Status, n.Ending = Removing, nil
	default:
		n.Ending = nil
	}

	return &n
}

// WithHealth returns a copy with another health.
func (c *Container) WithHealth(h healthcheck.Health) *Container {
	n := *c
	n.Health = &h
	return &n
}

// IsToBeRemoved reports whether the container is removed when its process exits.
func (c *Container) IsToBeRemoved() bool {
	return c.RemovesItself() || c.Status == Removing || c.Ending != nil && c.Ending.Goal == GoalRemoved
}

// RemovesItself reports whether --rm removes the container when its process exits. A restart keeps
// it.
func (c *Container) RemovesItself() bool {
	return c.Config.AutoRemove && (c.Ending == nil || c.Ending.Goal != GoalRestarted)
}

// InStatus returns a copy in another status.
func (c *Container) InStatus(s Status) *Container {
	n := *c
	n.Status = s
	return &n
}

// Changing returns a copy with an incomplete change; nil marks the change as complete.
func (c *Container) Changing(change *Change) *Container {
	n := *c
	n.Change = change
	return &n
}

// WithName returns a copy with another name.
func (c *Container) WithName(name string) *Container {
	n := *c
	n.Config.Name = name
	return &n
}

// WithOwnNetns returns a copy that owns the network namespace it had joined.
func (c *Container) WithOwnNetns() *Container {
	n, live := *c, *c.Live
	live.NetnsPath, live.SharedWith = fmt.Sprintf("/proc/%d/ns/net", live.PID), ""
	n.Live = &live
	return &n
}

// FailedToStart returns a copy with the error of a failed start. A request to restart is kept, as the
// start may be retried.
func (c *Container) FailedToStart(err error) *Container {
	n := *c
	n.Error = err.Error()
	return &n
}
