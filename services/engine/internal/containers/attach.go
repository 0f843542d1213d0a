package containers

import (
	"context"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Attach serves POST /containers/{name}/attach.
func (h *Handlers) Attach(w http.ResponseWriter, r *httpapi.Request) error {
	return h.attach(w, r, stream.TakeOver)
}

// AttachWebsocket serves GET /containers/{name}/attach/ws.
func (h *Handlers) AttachWebsocket(w http.ResponseWriter, r *httpapi.Request) error {
	return h.attach(w, r, stream.Websocket)
}

// takeOver takes over the connection of a request.
type takeOver func(w http.ResponseWriter, r *httpapi.Request, tty bool) (stream.Client, error)

func (h *Handlers) attach(w http.ResponseWriter, r *httpapi.Request, take takeOver) error {
	c, err := h.get(r.Context(), r.Name())
	if err != nil {
		return err
	}
	if err := checkAttachable(c); err != nil {
		return err
	}
	keys, err := detachKeys(r, c.GetConfig().GetTty())
	if err != nil {
		return err
	}
	o := stream.Options{Stdin: r.Bool("stdin") && c.GetConfig().GetOpenStdin(), Stdout: r.Bool("stdout"),
		Stderr: r.Bool("stderr"), CloseStdin: c.GetConfig().GetStdinOnce() && !c.GetConfig().GetTty(), DetachKeys: keys}
	if !r.Bool("stream") {
		return h.attachLogs(w, r, c, o, take)
	}

	rest := r.Continue()
	defer rest.Close()
	call, err := h.openAttach(rest.Context, r, c, o)
	if err != nil {
		return err
	}
	client, err := take(w, r, c.GetConfig().GetTty())
	if err != nil {
		call.Cancel()
		return err
	}
	ctx := rest.Context
	rest.Go(func() { stream.Pump(ctx, client, call, o) })
	return nil
}

// checkAttachable rejects containers whose output does not flow.
func checkAttachable(c *containerv1.Container) error {
	switch s := state.FromProto(c); {
	case s.Paused:
		return httpapi.Errorf(http.StatusConflict, "container %s is paused, unpause the container before attach",
			c.GetId())
	case s.Restarting:
		return httpapi.Errorf(http.StatusConflict, "container %s is restarting, wait until the container is running",
			c.GetId())
	}
	return nil
}

// detachKeys returns the keys of a request. Only a terminal has them by default.
func detachKeys(r *httpapi.Request, tty bool) ([]byte, error) {
	text := r.Query("detachKeys")
	if text == "" && !tty {
		return nil, nil
	}
	return stream.ParseDetachKeys(text)
}

// openAttach attaches to a container, or waits until it is started. It returns when no output can be
// missed.
func (h *Handlers) openAttach(ctx context.Context, r *httpapi.Request, c *containerv1.Container, o stream.Options) (
	stream.Call, error) {
	ctx, cancel := context.WithCancel(ctx)
	call, err := h.clients.Containers.AttachContainer(ctx)
	if err != nil {
		cancel()
		return stream.Call{}, err
	}
	options := &containerv1.AttachOptions{Reference: c.GetId(), WaitForStart: !state.HasProcess(c),
		Logs: r.Bool("logs"), Stream: streamOf(r.Bool("stdout"), r.Bool("stderr"))}
	err = call.Send(&containerv1.AttachContainerRequest{
		Message: &containerv1.AttachContainerRequest_Attach{Attach: options}})
	if err == nil && !o.Stdin {
		err = call.CloseSend() // the supervisor then waits for no input
	}
	if err == nil {
		_, err = call.Recv() // it is attached
	}
	if err != nil {
		cancel()
		return stream.Call{}, err
	}
	return stream.Call{
		Cancel: cancel,
		Send: func(in *containerv1.Input) error {
			return call.Send(&containerv1.AttachContainerRequest{
				Message: &containerv1.AttachContainerRequest_Input{Input: in}})
		},
		Output: func() (*containerv1.Output, error) { return stream.NextOutput(call.Recv) },
	}, nil
}

// attachLogs sends the stored output only.
func (h *Handlers) attachLogs(w http.ResponseWriter, r *httpapi.Request, c *containerv1.Container, o stream.Options,
	take takeOver) error {
	if !r.Bool("logs") {
		return httpapi.Errorf(http.StatusBadRequest, "bad parameters: you must choose at least one stream or logs")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	logs, err := h.clients.Containers.ReadLogs(ctx, &containerv1.ReadLogsRequest{Reference: c.GetId()})
	if err != nil {
		return err
	}
	client, err := take(w, r, c.GetConfig().GetTty())
	if err != nil {
		return err
	}
	o.Stdin = false
	stream.Pump(ctx, client, stream.Call{Cancel: cancel, Send: func(*containerv1.Input) error { return nil },
		Output: func() (*containerv1.Output, error) {
			entry, err := logs.Recv()
			return entry.GetOutput(), err
		}}, o)
	return nil
}
