// Package container is what the supervisor means by a container: what a user asks for, what is valid, what its image adds, and
// where in its life it is. It is pure: it touches neither the kernel nor other services.
package container

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/agent/sources"
)

// Config is all that a user says of a container before it exists. See fairlead.container.v1.ContainerConfig for the flags.
type Config struct {
	Name        string
	Image       string // as the user wrote it
	Command     []string
	Entrypoint  []string // nil: the image's; one empty string: none
	Env         []string
	WorkingDir  string
	User        string
	Mounts      []Mount
	Labels      map[string]string
	TTY         bool
	OpenStdin   bool
	AutoRemove  bool
	Runtime     string
	Platform    string
	StopSignal  string
	StopTimeout *time.Duration // nil: DefaultStopTimeout
	Pull        PullPolicy
	Network     Network
	DNS         DNS
	Sysctls     map[string]string // of the container's own namespaces
	UTS         string            // UTSHost, or empty for a host name of its own
}

// UTSHost is the mode of a container that has the host's own host name.
const UTSHost = "host"

// DefaultStopTimeout is how long a container has between its stop signal and SIGKILL.
const DefaultStopTimeout = 10 * time.Second

// PullPolicy says when the image is fetched.
type PullPolicy int

// The policies.
const (
	PullMissing PullPolicy = iota
	PullAlways
	PullNever
)

// Mount shows a path of the host in the container.
type Mount struct {
	Source       string
	Target       string
	ReadOnly     bool
	Propagation  string // empty: rprivate
	CreateSource bool   // make a missing source as a folder, as -v does
}

// Protocol is a transport that has ports: "tcp", "udp" or "sctp".
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"

	// AllProtocols is the protocol of a whole address that is published.
	AllProtocols Protocol = "all"
)

// PortMapping is what one -p asks for. The zero HostIP means all addresses, HostPort 0 a dynamic one, an End of 0 no range.
type PortMapping struct {
	Protocol         Protocol
	HostIP           netip.Addr
	HostPort         uint16
	HostPortEnd      uint16
	ContainerPort    uint16
	ContainerPortEnd uint16
	Sources          sources.Set // who may connect
}

// PublishedAddress is what one --publish-address asks for. Unless it is Incoming only, what the container sends out leaves as it.
type PublishedAddress struct {
	HostIP  netip.Addr
	NoSNAT  bool
	Sources sources.Set // who may connect
}

// ExposedPort is a port, or a range, that a container says it listens on. An End of 0 means no range.
type ExposedPort struct {
	Protocol Protocol
	Port     uint16
	End      uint16
}

// DNS is what a container finds in its name files.
type DNS struct {
	Hostname   string
	Domainname string
	Servers    []string
	Search     []string
	Options    []string
	ExtraHosts []string // NAME:ADDRESS
}

// Status is where in its life a container is.
type Status string

// The statuses. Launching is a run that has not come to its end: after a crash such a container is removed.
const (
	Launching Status = "launching"
	Created   Status = "created"
	Running   Status = "running"
	Exited    Status = "exited"
	Removing  Status = "removing"
)

// Container is a container with all that is remembered of it. It is never changed once stored; With… functions give copies.
type Container struct {
	ID        string
	Config    Config
	ImageID   string
	Process   Process // what the image and the configuration make together
	Status    Status
	CreatedAt time.Time

	StartedAt   time.Time // zero if never
	FinishedAt  time.Time // zero if never
	ExitCode    int
	ExitUnknown bool // nobody saw the exit code; ExitCode is 137
	OOMKilled   bool
	Error       string // why the last start failed

	RuntimePath string
	Live        *RunState // only while it runs
	Change      *Change   `json:",omitempty"` // a change of its networks that is not complete
	Ending      *Ending   `json:",omitempty"` // a request to end its run that is not completed yet
}

// Change is a change of a container's networks, or of its name, that has begun. It is stored before any other service is asked, and until all of them and
// the configuration agree again.
type Change struct {
	Network string
	Connect *Attachment `json:",omitempty"` // nil: it is disconnected
	Renamed bool        `json:",omitempty"` // no network: it has another name
}

// Disconnects reports whether the change disconnects the container from a network. A nil change does not.
func (c *Change) Disconnects(network string) bool {
	return c != nil && !c.Renamed && c.Connect == nil && c.Network == network
}

// RunState is what a running container has.
type RunState struct {
	PID       int
	NetnsPath string // empty in host mode
	// SharedWith is the container that the namespace was made for, if that is another one.
	SharedWith string
	Endpoints  []Endpoint
	Bindings   []Binding
	Files      NameFiles
	// HostGateways are what host-gateway stands for in the hosts file, if it stands there.
	HostGateways []string
}

// Endpoint is one network interface. Addresses are in CIDR form; what there is not is empty.
type Endpoint struct {
	ID, NetworkID, NetworkName string
	Interface, HostInterface   string
	MAC                        string
	IPv4, IPv4Gateway          string
	IPv6, IPv6Gateway          string
	Bridge                     string
	Driver                     string
	HostBinding                string   // where the network publishes ports that name no host address
	Internal                   bool     // on an internal network
	Servers                    []string // the network's name servers
	Search                     []string `json:",omitempty"` // the network's search domains

	Leases []Lease `json:",omitempty"` // what the network's LAN has granted
}

// Lease is an address that a LAN has granted for a time. Times that there are not are zero.
type Lease struct {
	By, Address, Server            string
	Granted, Renew, Rebind, Expire time.Time
	NameServers                    []string
	Search                         []string `json:",omitempty"`
	Routes                         []string `json:",omitempty"`
}

// Binding is one host port that leads to one container port, or with the host port 0 one that is open at the container's own address.
type Binding struct {
	Protocol      Protocol
	HostIP        string
	HostPort      uint16
	ContainerIP   string
	ContainerPort uint16
	HostPortEnd   uint16 // the last port of a run; 0: there is just one

	ContainerPortEnd uint16 // the last of a run that is open at the container's own address

	Outgoing bool // of a whole address: what the container sends out leaves as it
	Sources  sources.Set
}

// NameFiles is where the container's name files are on the host, and the host name it was started with.
type NameFiles struct {
	Hostname, Hosts, ResolvConf string // paths
	HostName                    string
}

// IsRunning tells whether the process runs.
func (c *Container) IsRunning() bool { return c.Status == Running }

// Subject names the container in messages.
func (c *Container) Subject() string { return Subject(c.Config.Name) }

// Subject names a container in messages, by its name or what a user typed for it.
func Subject(name string) string { return "container " + name }

// StopTimeout is how long it has between its stop signal and SIGKILL.
func (c *Container) StopTimeout() time.Duration {
	if c.Config.StopTimeout != nil {
		return *c.Config.StopTimeout
	}
	return DefaultStopTimeout
}

// Started gives a copy that runs.
func (c *Container) Started(live RunState, at time.Time) *Container {
	n := *c
	n.Status, n.Live, n.StartedAt, n.FinishedAt = Running, &live, at, time.Time{}
	n.ExitCode, n.ExitUnknown, n.OOMKilled, n.Error, n.Ending = 0, false, false, "", nil
	return &n
}

// Exit is how a process ended.
type Exit struct {
	Code    int
	Unknown bool
	OOM     bool
	At      time.Time
}

// Ended returns a copy whose process has ended. One that is to be removed is in status removing from then on.
func (c *Container) Ended(e Exit) *Container {
	n := *c
	n.Status, n.Live, n.FinishedAt = Exited, nil, e.At
	n.ExitCode, n.ExitUnknown, n.OOMKilled = e.Code, e.Unknown, e.OOM
	switch {
	case c.Status == Removing:
		n.Status = Removing
	case c.Ending == nil || c.Ending.Goal == GoalRestarted: // that is completed by its start
	case c.Ending.Goal == GoalRemoved:
		n.Status, n.Ending = Removing, nil
	default:
		n.Ending = nil
	}
	return &n
}

// IsToBeRemoved reports whether it is removed as soon as its process has ended.
func (c *Container) IsToBeRemoved() bool {
	return c.Config.AutoRemove || c.Status == Removing || c.Ending != nil && c.Ending.Goal == GoalRemoved
}

// InStatus gives a copy in another status.
func (c *Container) InStatus(s Status) *Container {
	n := *c
	n.Status = s
	return &n
}

// Changing returns a copy that is about to be changed; nil means that the change is complete.
func (c *Container) Changing(change *Change) *Container {
	n := *c
	n.Change = change
	return &n
}

// WithName gives a copy with another name.
func (c *Container) WithName(name string) *Container {
	n := *c
	n.Config.Name = name
	return &n
}

// WithOwnNetns gives a copy that goes on in a namespace which was another one's, and is nobody else's any more.
func (c *Container) WithOwnNetns() *Container {
	n, live := *c, *c.Live
	live.NetnsPath, live.SharedWith = fmt.Sprintf("/proc/%d/ns/net", live.PID), ""
	n.Live = &live
	return &n
}

// FailedToStart gives a copy that remembers why it did not start.
func (c *Container) FailedToStart(err error) *Container {
	n := *c
	n.Error, n.Ending = err.Error(), nil
	return &n
}
