package containers

import (
	"net/http"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/create"
)

// Update serves POST /containers/{name}/update.
func (h *Handlers) Update(w http.ResponseWriter, r *httpapi.Request) error {
	var body container.UpdateConfig
	if err := r.Decode(w, &body); err != nil {
		return err
	}
	resources, err := create.ResourcesToProto(&body.Resources)
	if err != nil {
		return err
	}
	restart, err := create.RestartToProto(body.RestartPolicy)
	if err != nil {
		return err
	}
	updated, err := h.clients.Containers.UpdateContainer(r.Context(), &containerv1.UpdateContainerRequest{
		Reference: r.Name(), Restart: restart, Resources: resources})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, container.UpdateResponse{Warnings: updated.GetWarnings()})
}
