package containers

import (
	"net/http"

	"github.com/moby/moby/api/types/container"
	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Prune serves POST /containers/prune.
func (h *Handlers) Prune(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("until", "label", "label!")
	if err != nil {
		return err
	}
	until, err := filters.One("until")
	if err != nil {
		return err
	}
	request := &containerv1.PruneContainersRequest{Labels: filters["label"], ExcludeLabels: filters["label!"]}
	if until != "" {
		limit, err := httpapi.ParseTime(until, h.now())
		if err != nil {
			return err
		}
		request.Until = timestamppb.New(limit)
	}
	pruned, err := h.clients.Containers.PruneContainers(r.Context(), request)
	if err != nil {
		return err
	}
	out := container.PruneReport{ContainersDeleted: pruned.GetDeleted(),
		SpaceReclaimed: uint64(max(pruned.GetReclaimed(), 0))}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}
