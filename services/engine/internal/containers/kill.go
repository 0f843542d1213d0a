package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Kill serves POST /containers/{name}/kill.
func (h *Handlers) Kill(w http.ResponseWriter, r *httpapi.Request) error {
	_, err := h.clients.Containers.KillContainer(r.Context(), &containerv1.KillContainerRequest{Reference: r.Name(),
		Signal: r.Query("signal")})
	return noContent(w, err)
}
