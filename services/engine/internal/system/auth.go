package system

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/moby/moby/api/types/registry"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/authheader"
)

// Auth serves POST /auth.
func (h *Handlers) Auth(w http.ResponseWriter, r *httpapi.Request) error {
	var body registry.AuthConfig
	if err := r.Decode(w, &body); err != nil {
		return err
	}
	_, err := h.clients.Images.CheckCredentials(r.Context(), &containerv1.CheckCredentialsRequest{
		Server: registryHost(body.ServerAddress), Credentials: authheader.CredentialsToProto(body)})
	if fault.Is(err, fault.Denied) {
		return httpapi.Errorf(http.StatusUnauthorized, "%v", err)
	}
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, registry.AuthResponse{Status: "Login Succeeded"})
}

// registryHost returns the host of a registry, which clients also send as a URL. Empty means Docker Hub.
func registryHost(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
	}
	address, _, _ = strings.Cut(address, "/")
	if address == "index.docker.io" || address == "docker.io" || address == "registry-1.docker.io" {
		return ""
	}
	return address
}
