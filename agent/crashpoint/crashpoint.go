// Package crashpoint marks the points at which crash tests interrupt an agent: store commits, calls
// of other services, netlink requests and firewall updates. Builds with the tag crashtest kill the
// process, stall or fail at a selected point. In other builds the functions are empty.
//
// A crashtest build reads its orders from the directory in the environment variable FL_CRASHPOINTS.
// The file armed.NAME contains "NONCE ACTION ORDINAL", where NAME is the service of the process, or
// "one" in all-in-one mode. The process performs the action once, at the ORDINAL-th point after it
// first reads that NONCE, and writes the point to hit.NAME. While the file trace exists, each
// passed point is appended to trace.NAME.
package crashpoint

import "time"

// Stall is the duration of a stall. It exceeds the shortened time limit of a call.
const Stall = 5 * time.Second

// Kind is the kind of a point.
type Kind string

// The kinds.
const (
	Store    Kind = "store"    // a commit to a service's file
	Call     Kind = "call"     // a call of another service
	Netlink  Kind = "netlink"  // a request for links, addresses, routes or connections
	Firewall Kind = "firewall" // a flush of rules
	Pin      Kind = "pin"      // a mount or unmount of a namespace
)
