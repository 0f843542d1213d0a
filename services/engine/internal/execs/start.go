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

// detachKeys parses the keys of an exec. Empty means the default.
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
		options.Size = size(*body.ConsoleSize)
	}
	rest, input := r.Continue(), exec.GetOpenStdin()
	defer rest.Close()
	if body.Detach || !h.isRunning(r.Context(), found.GetExec().GetContainerId()) {
		call, err := h.start(rest.Context, options, input)
		if err != nil {
			return dockerError(err)
		}
		if body.Detach {
			call.Cancel()
			w.WriteHeader(http.StatusOK)
			return nil
		}
		client, err := stream.TakeOver(w, r, exec.GetTty()) // the container runs since a moment ago
		if err != nil {
			call.Cancel()
			return err
		}
		forward(rest, client, exec, call)
		return nil
	}

	client, err := stream.TakeOver(w, r, exec.GetTty())
	if err != nil {
		return err
	}
	h.run(rest, client, exec, options)
	return nil
}

// run starts an exec for a client that has got the response headers. They come first, as in Docker:
// some clients lose output that arrives together with them. For the same reason a process that cannot
// be started is reported in the output; clients then ask for its exit code.
func (h *Handlers) run(rest *httpapi.Continuation, client stream.Client, exec, options *containerv1.ExecOptions) {
	call, err := h.start(rest.Context, options, exec.GetOpenStdin())
	if err != nil {
		_ = client.Write(stream.Stdout, []byte(httpapi.Message(dockerError(err))+"\r\n")) // the client may be gone
		client.Close()
		return
	}
	forward(rest, client, exec, call)
}

// forward forwards between a client and the process of an exec until one of them ends.
func forward(rest *httpapi.Continuation, client stream.Client, exec *containerv1.ExecOptions, call stream.Call) {
	o := stream.Options{Stdin: exec.GetOpenStdin(), Stdout: attaches(exec, "stdout"), Stderr: attaches(exec, "stderr"),
		CloseStdin: !exec.GetTty()}
	if exec.GetTty() {
		if keys, err := detachKeys(exec.GetDetachKeys()); err == nil {
			o.DetachKeys = keys
		}
	}
	ctx := rest.Context
	rest.Go(func() { stream.Pump(ctx, client, call, o) })
}

// isRunning reports whether an exec of a container can start. If not, the error is the response.
func (h *Handlers) isRunning(ctx context.Context, id string) bool {
	res, err := h.clients.Containers.GetContainer(ctx, &containerv1.GetContainerRequest{Reference: id})
	return err == nil && res.GetContainer().GetStatus() == containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING
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
func (h *Handlers) start(ctx context.Context, options *containerv1.ExecOptions, input bool) (stream.Call, error) {
	ctx, cancel := context.WithCancel(ctx)
	call, err := h.clients.Containers.ExecContainer(ctx)
	if err == nil {
		err = call.Send(&containerv1.ExecContainerRequest{
			Message: &containerv1.ExecContainerRequest_Exec{Exec: options}})
	}
	if err == nil && !input {
		err = call.CloseSend() // the supervisor then waits for no input
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
