package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Start serves POST /containers/{name}/start.
func (h *Handlers) Start(w http.ResponseWriter, r *httpapi.Request) error {
	if r.Query("checkpoint") != "" {
		return noCheckpoints(w, r)
	}
	started, err := h.clients.Containers.StartContainer(r.Context(),
		&containerv1.StartContainerRequest{Reference: r.Name()})
	if err == nil && started.GetWasRunning() {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return noContent(w, err)
}
