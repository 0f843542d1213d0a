package execs

import (
	"net/http"

	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Create serves POST /containers/{name}/exec.
func (h *Handlers) Create(w http.ResponseWriter, r *httpapi.Request) error {
	var body container.ExecCreateRequest
	if err := r.Decode(w, &body); err != nil {
		return err
	}
	if len(body.Cmd) == 0 {
		return httpapi.Errorf(http.StatusBadRequest, "No exec command specified")
	}
	if _, err := detachKeys(body.DetachKeys); err != nil {
		return err
	}
	created, err := h.clients.Containers.CreateExec(r.Context(), &containerv1.CreateExecRequest{
		Exec: &containerv1.ExecOptions{Reference: r.Name(), Args: body.Cmd, Env: body.Env, WorkingDir: body.WorkingDir,
			User: body.User, Tty: body.Tty, OpenStdin: body.AttachStdin, Privileged: body.Privileged}})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusCreated, common.IDResponse{ID: created.GetExecId()})
}
