// Package session connects clients to containers: attach, exec and logs. It neither starts nor stops
// containers. Package run embeds it.
package session

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Processes connects to container processes. Package runtime implements it.
type Processes interface {
	Attach(ctx context.Context, uid string) (launch.Output, error)
	Exec(ctx context.Context, req runtime.ExecRequest) (Session, error)
	Resize(ctx context.Context, uid string, rows, cols uint16) error
}

// Config holds the dependencies of Sessions.
type Config struct {
	Store     *store.Store
	Processes Processes
	Host      spec.Host
	Defaults  container.Defaults // for options that a container does not set
	Lives     *lives.Lives
	Policies  *policies.Policies
	Notices   *notices.Notices
	Waiters   *launch.Waiters         // clients that attached before a start
	LogPath   func(uid string) string // path of a container's log
	Root      func(uid string) string // path of a container's root file system
}

// Sessions connects clients to containers.
type Sessions struct {
	Config
	execs execs
}

// New returns Sessions.
func New(cfg Config) *Sessions { return &Sessions{Config: cfg} }
