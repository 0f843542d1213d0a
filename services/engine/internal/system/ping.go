package system

import (
	"io"
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Ping serves GET and HEAD /_ping.
func (h *Handlers) Ping(w http.ResponseWriter, r *httpapi.Request) error {
	header := w.Header()
	header.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	header.Set("Pragma", "no-cache")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Builder-Version", "2")
	header.Set("Swarm", "inactive")
	if r.Method == http.MethodHead {
		header.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	_, _ = io.WriteString(w, "OK") // the client is gone if it fails
	return nil
}
