package endpoint

import (
	"slices"
	"time"

	"github.com/fairlead/fairlead/proto/id"
)

// Mode selects the network namespace of a container.
type Mode string

// The namespace modes.
const (
	Private Mode = "private" // a namespace of its own, with lo and one interface per endpoint
	Host    Mode = "host"    // the host's namespace
)

// ReleaseKeep selects the resources that a release keeps.
type ReleaseKeep struct {
	Namespace bool // with lo only, for containers that share it
	Addresses bool // static addresses, as reservations of the owner
}

// Sandbox is a container's network namespace with its endpoints.
type Sandbox struct {
	Owner     string
	Mode      Mode
	NetnsPath string // empty in mode host
	Endpoints []Endpoint
	CreatedAt time.Time
	OwnerName string // for messages; may be empty
	NetnsOnly bool   // released except for the namespace, which other containers share

	// External is the path of a namespace that another program created and keeps. It is also pinned at
	// NetnsPath, so it stays usable if that program removes the path. Empty: the namespace is Fairlead's.
	External string `json:",omitempty"`
}

// Matches reports whether the sandbox fulfills a request. The specs must have network ids.
func (s Sandbox) Matches(mode Mode, specs []Spec) bool {
	return s.Mode == mode && slices.EqualFunc(s.Endpoints, specs, func(e Endpoint, want Spec) bool {
		return e.Spec.Equal(want)
	})
}

// Interfaces returns the set of interface names.
func (s Sandbox) Interfaces() map[string]bool {
	out := map[string]bool{}
	for _, e := range s.Endpoints {
		out[e.Interface] = true
	}
	return out
}

// DisplayName returns the container's name in messages.
func (s Sandbox) DisplayName() string {
	if s.OwnerName != "" {
		return s.OwnerName
	}
	return id.Short(s.Owner)
}

// Subject returns the name of the sandbox in faults.
func (s Sandbox) Subject() string { return SandboxSubject(s.Owner) }

// SandboxSubject returns the name of an owner's sandbox in faults.
func SandboxSubject(owner string) string { return "sandbox of " + id.Short(owner) }

// EndpointOn returns the endpoint on a network. ok is false if there is none.
func (s Sandbox) EndpointOn(networkID string) (e Endpoint, ok bool) {
	i := slices.IndexFunc(s.Endpoints, func(e Endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return Endpoint{}, false
	}
	return s.Endpoints[i], true
}

// NetworkIDs returns the IDs of the endpoints' networks.
func (s Sandbox) NetworkIDs() []string {
	var out []string
	for _, e := range s.Endpoints {
		out = append(out, e.NetworkID)
	}
	return out
}
