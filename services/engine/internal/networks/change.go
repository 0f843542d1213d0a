package networks

import (
	"net/http"
	"time"

	"github.com/moby/moby/api/types/network"
	"google.golang.org/protobuf/types/known/timestamppb"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/endpoints"
	"github.com/fairlead/fairlead/services/engine/internal/translate/networkdoc"
)

// noSwarm is Docker's message for what needs a swarm.
const noSwarm = `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node ` +
	`to swarm and try again.`

// Create serves POST /networks/create.
func (h *Handlers) Create(w http.ResponseWriter, r *httpapi.Request) error {
	var req network.CreateRequest
	if err := r.Decode(w, &req); err != nil {
		return err
	}
	if req.Scope == "swarm" || req.Ingress {
		return httpapi.Errorf(http.StatusServiceUnavailable, "%s", noSwarm)
	}

	created, err := h.clients.Networks.CreateNetwork(r.Context(), networkdoc.CreateToProto(req, r.Version))
	if err != nil {
		return forbidden(err)
	}
	return httpapi.WriteJSON(w, http.StatusCreated, network.CreateResponse{ID: created.GetNetwork().GetId()})
}

// Remove serves DELETE /networks/{id}.
func (h *Handlers) Remove(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := h.clients.Networks.DeleteNetwork(r.Context(),
		&networkv1.DeleteNetworkRequest{Reference: r.Param("id")}); err != nil {
		return forbidden(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Connect serves POST /networks/{id}/connect.
func (h *Handlers) Connect(w http.ResponseWriter, r *httpapi.Request) error {
	var req network.ConnectRequest
	if err := r.Decode(w, &req); err != nil {
		return err
	}
	attachment, err := endpoints.ToProto(r.Param("id"), req.EndpointConfig)
	if err != nil {
		return err
	}

	if _, err := h.clients.Containers.ConnectNetwork(r.Context(),
		&containerv1.ConnectNetworkRequest{Reference: req.Container, Network: attachment}); err != nil {
		return forbidden(err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// Disconnect serves POST /networks/{id}/disconnect. The agent needs no container or namespace to
// disconnect an endpoint, so force changes nothing.
func (h *Handlers) Disconnect(w http.ResponseWriter, r *httpapi.Request) error {
	var req network.DisconnectRequest
	if err := r.Decode(w, &req); err != nil {
		return err
	}
	if _, err := h.clients.Containers.DisconnectNetwork(r.Context(),
		&containerv1.DisconnectNetworkRequest{Reference: req.Container, Network: r.Param("id")}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// Prune serves POST /networks/prune.
func (h *Handlers) Prune(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("until", "label", "label!")
	if err != nil {
		return err
	}
	req := &networkv1.PruneNetworksRequest{Labels: filters["label"], ExcludeLabels: filters["label!"]}
	text, err := filters.One("until")
	if err != nil {
		return err
	}
	if text != "" {
		until, err := httpapi.ParseTime(text, time.Now())
		if err != nil {
			return err
		}
		req.Until = timestamppb.New(until)
	}

	pruned, err := h.clients.Networks.PruneNetworks(r.Context(), req)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, network.PruneReport{NetworksDeleted: pruned.GetDeleted()})
}
