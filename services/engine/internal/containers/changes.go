package containers

import (
	"net/http"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Changes serves GET /containers/{name}/changes.
func (h *Handlers) Changes(w http.ResponseWriter, r *httpapi.Request) error {
	list, err := h.clients.Files.ListChanges(r.Context(), &containerv1.ListChangesRequest{Reference: r.Name()})
	if err != nil {
		return err
	}
	out := []container.FilesystemChange{}
	for _, c := range list.GetChanges() {
		kind := container.ChangeModify
		switch c.GetKind() {
		case containerv1.FileChangeKind_FILE_CHANGE_KIND_ADDED:
			kind = container.ChangeAdd
		case containerv1.FileChangeKind_FILE_CHANGE_KIND_DELETED:
			kind = container.ChangeDelete
		}
		out = append(out, container.FilesystemChange{Kind: kind, Path: c.GetPath()})
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}
