package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Unpause serves POST /containers/{name}/unpause.
func (h *Handlers) Unpause(w http.ResponseWriter, r *httpapi.Request) error {
	_, err := h.clients.Containers.UnpauseContainer(r.Context(),
		&containerv1.UnpauseContainerRequest{Reference: r.Name()})
	return noContent(w, err)
}
