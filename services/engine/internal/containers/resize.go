package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Resize serves POST /containers/{name}/resize.
func (h *Handlers) Resize(w http.ResponseWriter, r *httpapi.Request) error {
	size, err := r.TerminalSize()
	if err != nil {
		return err
	}
	_, err = h.clients.Containers.ResizeContainer(r.Context(), &containerv1.ResizeContainerRequest{Reference: r.Name(),
		Size: &containerv1.TerminalSize{Rows: size[0], Columns: size[1]}})
	if err == nil {
		w.WriteHeader(http.StatusOK)
	}
	return err
}
