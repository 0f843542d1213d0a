// Package builds has the handlers of operations on builds. BuildKit builds; package buildkit connects
// clients to it.
package builds

import (
	"context"
	"net/http"
	"sync"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
)

// Handlers are the handlers.
type Handlers struct {
	gateway *buildkit.Gateway

	mu     sync.Mutex
	builds map[string]context.CancelFunc // running ones that Cancel can end
}

// New returns the handlers.
func New(clients peers.Clients) *Handlers {
	return &Handlers{gateway: buildkit.New(buildkit.Config{Builder: clients.Builder, Images: clients.Images}),
		builds: map[string]context.CancelFunc{}}
}

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodPost, Path: "/build", Handle: h.Build},
		{Method: http.MethodPost, Path: "/build/cancel", Handle: h.Cancel, Since: apiversion.V(39)},
		{Method: http.MethodPost, Path: "/grpc", Handle: h.Control},
		{Method: http.MethodPost, Path: "/session", Handle: h.Session},
		{Method: http.MethodPost, Path: "/build/prune", Handle: h.Prune, Since: apiversion.V(31)},
	}
}
