// Package networks has the handlers of operations on networks.
package networks

import (
	"context"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
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
		{Method: http.MethodGet, Path: "/networks", Handle: h.List},
		{Method: http.MethodPost, Path: "/networks/create", Handle: h.Create},
		{Method: http.MethodPost, Path: "/networks/prune", Handle: h.Prune, Since: apiversion.V(25)},
		{Method: http.MethodGet, Path: "/networks/{id}", Handle: h.Inspect},
		{Method: http.MethodDelete, Path: "/networks/{id}", Handle: h.Remove},
		{Method: http.MethodPost, Path: "/networks/{id}/connect", Handle: h.Connect},
		{Method: http.MethodPost, Path: "/networks/{id}/disconnect", Handle: h.Disconnect},
	}
}

// running returns the running containers with their endpoints.
func (h *Handlers) running(ctx context.Context) (all []*containerv1.Container, err error) {
	req := &containerv1.ListContainersRequest{}
	for {
		page, err := h.clients.Containers.ListContainers(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetContainers()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return all, nil
		}
	}
}
