// Package containerflags holds the flags of run, create and update that set limits, privileges,
// health checks and restart policies of containers, and converts them to messages. It performs no
// I/O but reading seccomp profiles. The container commands use it.
package containerflags
