// Package auth determines who a client of the agent is and what it may call. Clients are identified
// when they connect. The role that a method requires is the option fairlead.auth.v1.role of its
// proto, so the package names no service.
//
// Only package server uses it, for every socket.
package auth

import (
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	authv1 "github.com/fairlead/fairlead/proto/gen/fairlead/auth/v1"
)

// Audience is the kind of clients that the sockets of a server are for.
type Audience int

const (
	// Peers are the services of the agent: root or the agent's own user, on the socket of a
	// service. They may call every method.
	Peers Audience = iota
	// Admins are root, the agent's own user, members of the socket's group, and clients with a
	// certificate. They may call the methods for administrators.
	Admins
)

// refusal returns the error for unauthorized clients, without details.
func refusal() error {
	return fault.New(fault.Denied, "request", "permission denied",
		fault.WithHint("run as root or as a member of the socket's group"))
}

// internal returns the error for administrators that call a method of the services.
func internal(method string) error {
	return fault.New(fault.Denied, "method "+strings.TrimPrefix(method, "/"),
		"is reserved for the services of the agent",
		fault.WithHint("use the methods that the fairlead command uses"))
}

// Authorize returns an error if a client may not call a method. Methods that are missing in the
// table are rejected.
func (r Roles) Authorize(audience Audience, who Identity, method string) error {
	least, listed := r[method]
	switch {
	case !listed:
	case audience == Peers && who.IsAgentUser():
		return nil
	case audience == Admins && least == authv1.Role_ROLE_ADMINISTRATOR && who.IsAdmin():
		return nil
	case audience == Admins && who.IsAdmin():
		return internal(method)
	}
	return refusal()
}
