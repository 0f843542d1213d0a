package containers

import (
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Top serves GET /containers/{name}/top.
func (h *Handlers) Top(w http.ResponseWriter, r *httpapi.Request) error {
	list, err := h.clients.Containers.ListProcesses(r.Context(),
		&containerv1.ListProcessesRequest{Reference: r.Name(), PsArgs: strings.Fields(r.Query("ps_args"))})
	if err != nil {
		return err
	}
	out := container.TopResponse{Titles: list.GetTitles(), Processes: [][]string{}}
	for _, row := range list.GetProcesses() {
		out.Processes = append(out.Processes, row.GetValues())
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}
