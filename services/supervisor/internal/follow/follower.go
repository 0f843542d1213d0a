// Package follow makes names and ports of running containers follow their networks: it connects and
// disconnects containers, publishes ports, renames containers, and synchronizes them when netagent
// renumbers a network. It completes changes that a crash interrupted.
//
// It neither starts nor stops containers. Package run embeds it.
package follow

import (
	"log/slog"
	"sync"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	"github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// Config holds the dependencies of a Follower.
type Config struct {
	Log      *slog.Logger
	Store    *store.Store
	Agents   *agents.Agents
	Policies *policies.Policies
	Lives    *lives.Lives
	Names    *lives.Names
	Notices  *notices.Notices
}

// Follower updates the names and ports of containers.
type Follower struct {
	Config
	changes sync.Map      // container ID to *container.Change that overrides the stored one
	wake    notify.Signal // requests a network sync
}

// New returns a Follower.
func New(cfg Config) *Follower { return &Follower{Config: cfg, wake: notify.NewSignal()} }

// logFor returns a logger with the container's ID.
func (r *Follower) logFor(uid string) *slog.Logger { return r.Log.With("container", id.Short(uid)) }
