package execs

import (
	"context"
	"errors"
	"net/http"

	"github.com/moby/moby/api/types/container"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
)

// detachKeys parses the keys of an exec. The supervisor does not store them: the default applies.
func detachKeys(text string) ([]byte, error) { return stream.ParseDetachKeys(text) }

// Start serves POST /exec/{id}/start.
func (h *Handlers) Start(w http.ResponseWriter, r *httpapi.Request) error {
	var body container.ExecStartRequest
	if err := r.Decode(w, &body); err != nil {
		return err
	}
	found, err := h.clients.Containers.GetExec(r.Context(), &containerv1.GetExecRequest{ExecId: r.Param("id")})
	if err != nil {
		return err
	}

	exec := found.GetExec().GetOptions()
	options := &containerv1.ExecOptions{ExecId: r.Param("id"), Detach: body.Detach}
	if body.ConsoleSize != nil && exec.GetTty() {
		options.Size = &containerv1.TerminalSize{Rows: uint32(min(body.ConsoleSize[0], 1<<16)),
			Columns: uint32(min(body.ConsoleSize[1], 1<<16))}
	}
	call, err := h.start(r.Context(), options)
	if err != nil {
		return h.notStarted(w, r, &body, exec, err)
	}
	if body.Detach {
		call.Cancel()
		w.WriteHeader(http.StatusOK)
		return nil
	}

	client, err := stream.TakeOver(w, r, exec.GetTty())
	if err != nil {
		call.Cancel()
		return err
	}
	o := stream.Options{Stdin: exec.GetOpenStdin(), Stdout: true, Stderr: true, CloseStdin: !exec.GetTty()}
	if exec.GetTty() {
		if o.DetachKeys, err = detachKeys(""); err != nil {
			return err
		}
	}
	stream.Pump(r.Context(), client, call, o)
	return nil
}

// notStarted reports why an exec has not started. As in Docker, the reason is part of the output if the
// process could not be started: clients then ask for its exit code. If the container is not running, it
// is the response.
func (h *Handlers) notStarted(w http.ResponseWriter, r *httpapi.Request, body *container.ExecStartRequest,
	exec *containerv1.ExecOptions, reason error) error {
	reason = dockerError(reason)
	if body.Detach {
		return reason
	}
	found, err := h.clients.Containers.GetExec(r.Context(), &containerv1.GetExecRequest{ExecId: r.Param("id")})
	if err != nil || found.GetExec().ExitCode == nil {
		return reason
	}

	client, err := stream.TakeOver(w, r, exec.GetTty())
	if err != nil {
		return err
	}
	defer client.Close()
	_ = client.Write(stream.Stdout, []byte(httpapi.Message(reason)+"\r\n")) // the client is gone if it fails
	return nil
}

// dockerError returns Docker's error for a command that does not exist or is not executable, and err
// otherwise.
func dockerError(err error) error {
	switch fault.ReasonOf(err) {
	case fault.ReasonCommandNotFound, fault.ReasonCommandNotExecutable:
	default:
		return err
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return err
	}
	return httpapi.Errorf(http.StatusBadRequest,
		"OCI runtime exec failed: exec failed: unable to start container process: %s: unknown", f.Message)
}

// start starts an exec. It returns when the process runs.
func (h *Handlers) start(ctx context.Context, options *containerv1.ExecOptions) (stream.Call, error) {
	ctx, cancel := context.WithCancel(ctx)
	call, err := h.clients.Containers.ExecContainer(ctx)
	if err == nil {
		err = call.Send(&containerv1.ExecContainerRequest{
			Message: &containerv1.ExecContainerRequest_Exec{Exec: options}})
	}
	if err == nil {
		_, err = call.Recv() // it has started
	}
	if err != nil {
		cancel()
		return stream.Call{}, err
	}
	return stream.Call{
		Cancel: cancel,
		Send: func(in *containerv1.Input) error {
			return call.Send(&containerv1.ExecContainerRequest{
				Message: &containerv1.ExecContainerRequest_Input{Input: in}})
		},
		Output: func() (*containerv1.Output, error) { return stream.NextOutput(call.Recv) },
	}, nil
}
