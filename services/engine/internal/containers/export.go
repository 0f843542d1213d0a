package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Export serves GET /containers/{name}/export.
func (h *Handlers) Export(w http.ResponseWriter, r *httpapi.Request) error {
	stream, err := h.clients.Files.ExportContainer(r.Context(),
		&containerv1.ExportContainerRequest{Reference: r.Name()})
	if err != nil {
		return err
	}
	return httpapi.Download(w, "application/octet-stream", func() ([]byte, error) {
		response, err := stream.Recv()
		return response.GetData(), err
	})
}
