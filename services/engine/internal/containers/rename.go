package containers

import (
	"net/http"
	"strings"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Rename serves POST /containers/{name}/rename.
func (h *Handlers) Rename(w http.ResponseWriter, r *httpapi.Request) error {
	name := strings.TrimPrefix(r.Query("name"), "/")
	if name == "" {
		return httpapi.Errorf(http.StatusBadRequest, "Neither old nor new names may be empty")
	}
	_, err := h.clients.Containers.RenameContainer(r.Context(),
		&containerv1.RenameContainerRequest{Reference: r.Name(), Name: name})
	return noContent(w, err)
}
