// Package system has the handlers of operations on the engine itself.
package system

import (
	"context"
	"net/http"
	"time"

	"github.com/moby/moby/api/types/build"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
)

// Handlers are the handlers.
type Handlers struct {
	clients peers.Clients
	cache   BuildCache
	now     func() time.Time
}

// BuildCache returns the records of the build cache.
type BuildCache func(context.Context) ([]build.CacheRecord, error)

// New returns the handlers.
func New(clients peers.Clients, cache BuildCache) *Handlers {
	return &Handlers{clients, cache, time.Now}
}

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodGet, Path: "/_ping", Handle: h.Ping, Early: true},
		{Method: http.MethodHead, Path: "/_ping", Handle: h.Ping, Early: true},
		{Method: http.MethodGet, Path: "/version", Handle: h.Version},
		{Method: http.MethodGet, Path: "/info", Handle: h.Info},
		{Method: http.MethodGet, Path: "/events", Handle: h.Events},
		{Method: http.MethodGet, Path: "/system/df", Handle: h.DiskUsage, Since: apiversion.V(25)},
		{Method: http.MethodPost, Path: "/auth", Handle: h.Auth},
	}
}
