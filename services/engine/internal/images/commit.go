package images

import (
	"net/http"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Commit serves POST /commit.
func (h *Handlers) Commit(w http.ResponseWriter, r *httpapi.Request) error {
	var config container.Config
	if err := r.Decode(w, &config); err != nil {
		return err
	}
	// The changes of the query apply after the configuration of the body.
	req := &containerv1.CommitContainerRequest{Container: r.Query("container"), Author: r.Query("author"),
		Message: r.Query("comment"), NoPause: !r.BoolOr("pause", true),
		Changes: append(imagedoc.Instructions(&config), r.URL.Query()["changes"]...)}
	if r.Query("repo") != "" {
		ref, err := referenceOf(r.Query("repo"), r.Query("tag"))
		if err != nil {
			return err
		}
		req.Reference = ref
	}

	committed, err := h.clients.Images.CommitContainer(r.Context(), req)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusCreated, container.CommitResponse{ID: committed.GetImage().GetId()})
}
