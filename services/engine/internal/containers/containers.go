// Package containers has the handlers of operations on containers.
package containers

import (
	"context"
	"net/http"
	"time"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
)

// Handlers are the handlers.
type Handlers struct {
	clients peers.Clients
	now     func() time.Time
}

// New returns the handlers.
func New(clients peers.Clients) *Handlers { return &Handlers{clients, time.Now} }

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	get, post := http.MethodGet, http.MethodPost
	return []httpapi.Operation{
		{Method: get, Path: "/containers/json", Handle: h.List},
		{Method: post, Path: "/containers/create", Handle: h.Create},
		{Method: post, Path: "/containers/prune", Handle: h.Prune, Since: apiversion.V(25)},
		{Method: get, Path: "/containers/{name}/json", Handle: h.Inspect},
		{Method: get, Path: "/containers/{name}/top", Handle: h.Top},
		{Method: get, Path: "/containers/{name}/logs", Handle: h.Logs},
		{Method: get, Path: "/containers/{name}/changes", Handle: h.Changes},
		{Method: get, Path: "/containers/{name}/export", Handle: h.Export},
		{Method: get, Path: "/containers/{name}/stats", Handle: h.Stats},
		{Method: post, Path: "/containers/{name}/resize", Handle: h.Resize},
		{Method: post, Path: "/containers/{name}/start", Handle: h.Start},
		{Method: post, Path: "/containers/{name}/stop", Handle: h.Stop},
		{Method: post, Path: "/containers/{name}/restart", Handle: h.Restart},
		{Method: post, Path: "/containers/{name}/kill", Handle: h.Kill},
		{Method: post, Path: "/containers/{name}/update", Handle: h.Update},
		{Method: post, Path: "/containers/{name}/rename", Handle: h.Rename},
		{Method: post, Path: "/containers/{name}/pause", Handle: h.Pause},
		{Method: post, Path: "/containers/{name}/unpause", Handle: h.Unpause},
		{Method: post, Path: "/containers/{name}/attach", Handle: h.Attach},
		{Method: get, Path: "/containers/{name}/attach/ws", Handle: h.AttachWebsocket},
		{Method: post, Path: "/containers/{name}/wait", Handle: h.Wait},
		{Method: http.MethodDelete, Path: "/containers/{name}", Handle: h.Remove},
		{Method: http.MethodHead, Path: "/containers/{name}/archive", Handle: h.StatArchive},
		{Method: get, Path: "/containers/{name}/archive", Handle: h.GetArchive},
		{Method: http.MethodPut, Path: "/containers/{name}/archive", Handle: h.PutArchive},
		{Method: get, Path: "/containers/{name}/checkpoints", Handle: noCheckpoints},
		{Method: post, Path: "/containers/{name}/checkpoints", Handle: noCheckpoints},
		{Method: http.MethodDelete, Path: "/containers/{name}/checkpoints/{checkpoint}", Handle: noCheckpoints},
	}
}

// noCheckpoints responds as a Docker without experimental features.
func noCheckpoints(http.ResponseWriter, *httpapi.Request) error {
	return httpapi.Errorf(http.StatusNotImplemented, "checkpoints are not supported")
}

// get returns a container.
func (h *Handlers) get(ctx context.Context, reference string) (*containerv1.Container, error) {
	response, err := h.clients.Containers.GetContainer(ctx, &containerv1.GetContainerRequest{Reference: reference})
	return response.GetContainer(), err
}

// noContent writes the response to an operation without a document.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
