package containers

import (
	"context"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Start serves POST /containers/{name}/start.
func (h *Handlers) Start(w http.ResponseWriter, r *httpapi.Request) error {
	if r.Query("checkpoint") != "" {
		return noCheckpoints(w, r)
	}
	started, err := h.clients.Containers.StartContainer(r.Context(),
		&containerv1.StartContainerRequest{Reference: r.Name()})
	if err == nil && started.GetWasRunning() {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if err != nil {
		h.removeFailed(context.WithoutCancel(r.Context()), r.Name())
	}
	return noContent(w, err)
}

// removeFailed removes a container that is removed when it exits, and could not be started: clients wait
// for its removal. Its only error is that another request has removed it.
func (h *Handlers) removeFailed(ctx context.Context, reference string) {
	c, err := h.get(ctx, reference)
	if err != nil || !c.GetConfig().GetAutoRemove() || state.Running(c) {
		return
	}
	_, _ = h.clients.Containers.RemoveContainer(ctx,
		&containerv1.RemoveContainerRequest{Reference: c.GetId(), Volumes: true})
}
