package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Pause serves POST /containers/{name}/pause.
func (h *Handlers) Pause(w http.ResponseWriter, r *httpapi.Request) error {
	_, err := h.clients.Containers.PauseContainer(r.Context(),
		&containerv1.PauseContainerRequest{Reference: r.Name()})
	return noContent(w, err)
}
