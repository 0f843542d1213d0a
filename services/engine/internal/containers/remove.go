package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Remove serves DELETE /containers/{name}.
func (h *Handlers) Remove(w http.ResponseWriter, r *httpapi.Request) error {
	if r.Bool("link") {
		return httpapi.Errorf(http.StatusBadRequest, "links cannot be removed without the container; remove the "+
			"container, or disconnect it from the network")
	}
	_, err := h.clients.Containers.RemoveContainer(r.Context(), &containerv1.RemoveContainerRequest{
		Reference: r.Name(), Force: r.Bool("force"), Volumes: r.Bool("v")})
	return noContent(w, err)
}
