package containers

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/stat"
	"github.com/fairlead/fairlead/services/engine/internal/translate/state"
)

// Stats serves GET /containers/{name}/stats. Without stream it sends the second sample, which has a CPU
// usage, unless the client asks for the first one.
func (h *Handlers) Stats(w http.ResponseWriter, r *httpapi.Request) error {
	follow, oneShot := r.BoolOr("stream", true), r.Bool("one-shot") && r.Version.AtLeast(41)
	if follow && oneShot {
		return httpapi.Errorf(http.StatusBadRequest, "cannot have stream=true and one-shot=true")
	}
	c, err := h.get(r.Context(), r.Name())
	if err != nil {
		return err
	}
	skip := 0
	if !follow && !oneShot && state.HasProcess(c) {
		skip = 1
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	samples, err := h.clients.Containers.StreamStats(ctx, &containerv1.StreamStatsRequest{
		References: []string{c.GetId()}, Stream: follow || skip > 0})
	if err != nil {
		return err
	}
	control, started := http.NewResponseController(w), false
	for {
		response, err := samples.Recv()
		if started && fault.Is(err, fault.Unavailable) {
			panic(http.ErrAbortHandler) // the client must not take it for the end of the container
		}
		if err != nil && started {
			return nil // the container was removed
		}
		if err != nil {
			return err
		}
		if skip > 0 {
			skip--
			continue
		}
		if !started {
			started = true
			w.Header().Set("Content-Type", "application/json")
		}
		for _, s := range response.GetContainers() {
			if json.NewEncoder(w).Encode(stat.FromProto(s, r.Version)) != nil || control.Flush() != nil {
				return nil // the client is gone
			}
		}
		if !follow {
			return nil
		}
	}
}
