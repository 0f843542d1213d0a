// Package crashpoint marks the points at which an agent may be interrupted: each commit of a store, call of another service, netlink
// request and flush of rules. Builds with the tag crashtest kill the process, stall or fail at a chosen point; in all others the marks are
// empty functions, which the compiler removes.
//
// A build with the tag reads its orders from the directory that the environment variable FL_CRASHPOINTS names. The file armed.NAME holds
// "NONCE ACTION ORDINAL", where NAME is the process's service, or "one" for all services in one process: the process acts at the
// ORDINAL-th point that it passes after it has first seen that NONCE, once, and tells in hit.NAME where. While the file trace is there, each
// point that is passed is a line in trace.NAME.
package crashpoint

// Kind is what happens at a point.
type Kind string

// The kinds.
const (
	Store    Kind = "store"    // a commit to a service's file
	Call     Kind = "call"     // a call of another service
	Netlink  Kind = "netlink"  // a request for links, addresses, routes or connections
	Firewall Kind = "firewall" // a flush of rules
	Pin      Kind = "pin"      // a namespace gets or loses its mount
)
