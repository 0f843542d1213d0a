package execs

import (
	"net/http"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Inspect serves GET /exec/{id}/json.
func (h *Handlers) Inspect(w http.ResponseWriter, r *httpapi.Request) error {
	found, err := h.clients.Containers.GetExec(r.Context(), &containerv1.GetExecRequest{ExecId: r.Param("id")})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, execFromProto(found.GetExec()))
}

// execFromProto returns the document of an exec.
func execFromProto(e *containerv1.Exec) *container.ExecInspectResponse {
	o := e.GetOptions()
	privileged := o.GetPrivileged()
	config := &container.ExecProcessConfig{Tty: o.GetTty(), Arguments: []string{}, User: o.GetUser(),
		Privileged: &privileged}
	if args := o.GetArgs(); len(args) > 0 {
		config.Entrypoint, config.Arguments = args[0], args[1:]
	}
	keys := []byte{}
	if o.GetDetachKeys() != "" {
		if parsed, err := detachKeys(o.GetDetachKeys()); err == nil {
			keys = parsed
		}
	}
	out := &container.ExecInspectResponse{ID: e.GetId(), Running: e.GetRunning(), ProcessConfig: config,
		OpenStdin: o.GetOpenStdin(), OpenStdout: attaches(o, "stdout"), OpenStderr: attaches(o, "stderr"),
		ContainerID: e.GetContainerId(),
		DetachKeys:  keys, Pid: int(e.GetPid()), CanRemove: !e.GetRunning() && e.ExitCode != nil}
	if e.ExitCode != nil {
		code := int(e.GetExitCode())
		out.ExitCode = &code
	}
	return out
}
