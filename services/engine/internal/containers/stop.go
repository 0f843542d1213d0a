package containers

import (
	"math"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Stop serves POST /containers/{name}/stop.
func (h *Handlers) Stop(w http.ResponseWriter, r *httpapi.Request) error {
	timeout, err := seconds(r)
	if err != nil {
		return err
	}
	c, err := h.get(r.Context(), r.Name())
	if err != nil {
		return err
	}
	if !state.Running(c) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err = h.clients.Containers.StopContainer(r.Context(), &containerv1.StopContainerRequest{
		Reference: c.GetId(), TimeoutSeconds: timeout, Signal: signal(r)})
	return noContent(w, err)
}

// seconds returns the timeout of a stop. -1 means that there is no limit, absent the container's own.
func seconds(r *httpapi.Request) (*uint32, error) {
	if r.Query("t") == "" {
		return nil, nil
	}
	n, err := r.Int("t", 0)
	if err != nil {
		return nil, err
	}
	out := uint32(math.MaxUint32)
	if n >= 0 {
		out = uint32(min(n, math.MaxUint32))
	}
	return &out, nil
}

// signal returns the signal of a stop, which version 1.42 introduced.
func signal(r *httpapi.Request) string {
	if r.Version.Before(42) {
		return ""
	}
	return r.Query("signal")
}
