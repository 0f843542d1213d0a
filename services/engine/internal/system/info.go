package system

import (
	"net/http"

	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/hostinfo"
)

// Info serves GET /info.
func (h *Handlers) Info(w http.ResponseWriter, r *httpapi.Request) error {
	host, err := h.clients.Host.GetInfo(r.Context(), &hostv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	firewall, err := h.clients.Firewall.Diagnose(r.Context(), &natv1.DiagnoseRequest{BackendOnly: true})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, hostinfo.FromProto(host, firewall.GetBackend(), h.now(), r.Version))
}
