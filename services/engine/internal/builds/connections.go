package builds

import (
	"net/http"
	"strings"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/stream"
)

// upgrade is the protocol of both connections: HTTP/2 without TLS.
const upgrade = "h2c"

// Control serves POST /grpc: the calls of a client to BuildKit.
func (h *Handlers) Control(w http.ResponseWriter, r *httpapi.Request) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	bk, err := h.gateway.Open(r.Context(), false)
	if err != nil {
		return err
	}
	defer bk.Close()
	conn, err := stream.Upgrade(w, upgrade)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	h.gateway.Control(r.Context(), bk, conn)
	return nil
}

// Session serves POST /session: the calls of BuildKit to a client.
func (h *Handlers) Session(w http.ResponseWriter, r *httpapi.Request) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	if !buildkit.HasID(r.Header) {
		return httpapi.Errorf(http.StatusBadRequest, "no session ID in request")
	}
	bk, err := h.gateway.Open(r.Context(), false)
	if err != nil {
		return err
	}
	defer bk.Close()
	conn, err := stream.Upgrade(w, upgrade)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return h.gateway.Session(r.Context(), bk, conn, r.Header)
}

// checkUpgrade rejects requests without an upgrade, as Docker does.
func checkUpgrade(r *httpapi.Request) error {
	proto := r.Header.Get("Upgrade")
	if proto == "" {
		return httpapi.Errorf(http.StatusBadRequest, "no upgrade proto in request")
	}
	if !strings.EqualFold(proto, upgrade) {
		return httpapi.Errorf(http.StatusBadRequest, "protocol %.100s not supported", proto)
	}
	return nil
}
