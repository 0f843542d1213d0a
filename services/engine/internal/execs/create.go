package execs

import (
	"net/http"
	"slices"
	"strings"

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
	options := &containerv1.ExecOptions{Reference: r.Name(), Args: body.Cmd, Env: assigned(body.Env),
		WorkingDir: body.WorkingDir, User: body.User, Tty: body.Tty, OpenStdin: body.AttachStdin,
		Privileged: body.Privileged, DetachKeys: body.DetachKeys, Attach: streams(&body)}
	if body.ConsoleSize != nil && body.Tty {
		options.Size = size(*body.ConsoleSize)
	}
	created, err := h.clients.Containers.CreateExec(r.Context(), &containerv1.CreateExecRequest{Exec: options})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusCreated, common.IDResponse{ID: created.GetExecId()})
}

// streams returns the streams that a client attaches; none means all.
func streams(body *container.ExecCreateRequest) []string {
	var out []string
	for _, s := range []struct {
		name string
		on   bool
	}{{"stdin", body.AttachStdin}, {"stdout", body.AttachStdout}, {"stderr", body.AttachStderr}} {
		if s.on {
			out = append(out, s.name)
		}
	}
	return out
}

// assigned returns the variables with a value. The others, which clients send for -e NAME without a
// variable of that name, are not set, as in Docker.
func assigned(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return !strings.Contains(v, "=") })
}

// attaches reports whether the client that starts an exec gets a stream.
func attaches(exec *containerv1.ExecOptions, name string) bool {
	return len(exec.GetAttach()) == 0 || slices.Contains(exec.GetAttach(), name)
}

// size returns the size of a terminal, given as rows and columns.
func size(box [2]uint) *containerv1.TerminalSize {
	const largest = 1 << 16 // the supervisor refuses it
	return &containerv1.TerminalSize{Rows: uint32(min(box[0], largest)), Columns: uint32(min(box[1], largest))}
}
