package containers

import (
	"encoding/json"
	"net/http"

	"github.com/moby/moby/api/types/container"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Wait serves POST /containers/{name}/wait. The headers are sent as soon as no exit can be missed: clients
// start the container after them.
func (h *Handlers) Wait(w http.ResponseWriter, r *httpapi.Request) error {
	condition, err := conditionOf(r)
	if err != nil {
		return err
	}
	stream, err := h.clients.Containers.WatchExit(r.Context(),
		&containerv1.WatchExitRequest{Reference: r.Name(), Condition: condition})
	if err != nil {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	var out container.WaitResponse
	for response.GetExited() == nil && err == nil {
		response, err = stream.Recv()
	}
	if out.StatusCode = int64(response.GetExited().GetExitCode()); err != nil {
		out.StatusCode, out.Error = 125, &container.WaitExitError{Message: err.Error()}
	}
	_ = json.NewEncoder(w).Encode(out) // the client is gone if it fails
	return nil
}

// conditionOf returns the condition, which version 1.30 introduced.
func conditionOf(r *httpapi.Request) (containerv1.WaitCondition, error) {
	text := r.Query("condition")
	if r.Version.Before(30) {
		text = ""
	}
	switch container.WaitCondition(text) {
	case "", container.WaitConditionNotRunning:
		return containerv1.WaitCondition_WAIT_CONDITION_NOT_RUNNING, nil
	case container.WaitConditionNextExit:
		return containerv1.WaitCondition_WAIT_CONDITION_NEXT_EXIT, nil
	case container.WaitConditionRemoved:
		return containerv1.WaitCondition_WAIT_CONDITION_REMOVED, nil
	}
	return 0, httpapi.Errorf(http.StatusBadRequest, "invalid condition: %q", text)
}
