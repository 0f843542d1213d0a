package images

import (
	"net/http"

	"github.com/moby/moby/api/types/image"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Remove serves DELETE /images/{name}. Images have no parents, so noprune changes nothing.
func (h *Handlers) Remove(w http.ResponseWriter, r *httpapi.Request) error {
	only, err := platforms(r, "platforms", 50)
	if err != nil {
		return err
	}
	if len(only) == 0 {
		only = []string{""}
	}

	out := []image.DeleteResponse{}
	for _, p := range only {
		removed, err := h.clients.Images.RemoveImage(r.Context(),
			&containerv1.RemoveImageRequest{Reference: r.Param("name"), Force: r.Bool("force"), Platform: p})
		if err != nil {
			return err
		}
		out = append(out, imagedoc.Deleted(removed.GetUntagged(), removed.GetDeleted())...)
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}

// Prune serves POST /images/prune.
func (h *Handlers) Prune(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("dangling", "until", "label", "label!")
	if err != nil {
		return err
	}
	dangling, err := filters.Bool("dangling")
	if err != nil {
		return err
	}

	delete(filters, "dangling")
	pruned, err := h.clients.Images.PruneImages(r.Context(),
		&containerv1.PruneImagesRequest{All: dangling != nil && !*dangling, Filters: filterTexts(filters)})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, image.PruneReport{
		ImagesDeleted:  imagedoc.Deleted(pruned.GetUntagged(), pruned.GetDeleted()),
		SpaceReclaimed: uint64(pruned.GetReclaimed()),
	})
}
