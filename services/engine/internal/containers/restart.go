package containers

import (
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Restart serves POST /containers/{name}/restart.
func (h *Handlers) Restart(w http.ResponseWriter, r *httpapi.Request) error {
	timeout, err := seconds(r)
	if err != nil {
		return err
	}
	_, err = h.clients.Containers.RestartContainer(r.Context(), &containerv1.RestartContainerRequest{
		Reference: r.Name(), TimeoutSeconds: timeout, Signal: signal(r)})
	return noContent(w, err)
}
