// Package execs has the handlers of operations on exec processes.
package execs

import (
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
)

// Handlers are the handlers.
type Handlers struct{ clients peers.Clients }

// New returns the handlers.
func New(clients peers.Clients) *Handlers { return &Handlers{clients} }

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodPost, Path: "/containers/{name}/exec", Handle: h.Create},
		{Method: http.MethodPost, Path: "/exec/{id}/start", Handle: h.Start},
		{Method: http.MethodPost, Path: "/exec/{id}/resize", Handle: h.Resize},
		{Method: http.MethodGet, Path: "/exec/{id}/json", Handle: h.Inspect},
	}
}
