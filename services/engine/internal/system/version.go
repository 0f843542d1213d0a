package system

import (
	"net/http"
	"runtime"

	"github.com/moby/moby/api/types/system"

	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Version serves GET /version.
func (h *Handlers) Version(w http.ResponseWriter, r *httpapi.Request) error {
	info, err := h.clients.Host.GetInfo(r.Context(), &hostv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, versionOf(info))
}

// versionOf returns the document of GET /version.
func versionOf(info *hostv1.GetInfoResponse) *system.VersionResponse {
	return &system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Fairlead"},
		Version:  info.GetVersion(), APIVersion: apiversion.Max.String(), MinAPIVersion: apiversion.Min.String(),
		Os: info.GetOs(), Arch: info.GetArchitecture(), KernelVersion: info.GetKernelVersion(),
		GoVersion: runtime.Version(), GitCommit: version.Version,
		Components: []system.ComponentVersion{{
			Name: "Engine", Version: info.GetVersion(),
			Details: map[string]string{"ApiVersion": apiversion.Max.String(), "MinAPIVersion": apiversion.Min.String(),
				"Os": info.GetOs(), "Arch": info.GetArchitecture(), "KernelVersion": info.GetKernelVersion(),
				"GoVersion": runtime.Version(), "Experimental": "false", "GitCommit": version.Version},
		}, {
			Name: "fairlead", Version: info.GetVersion(),
			Details: map[string]string{"ApiVersion": info.GetApiVersion(), "Runtime": info.GetRuntime()},
		}},
	}
}
