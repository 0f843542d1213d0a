package networks

import (
	"cmp"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/networkdoc"
)

// List serves GET /networks.
func (h *Handlers) List(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return err
	}
	dangling, err := filters.Bool("dangling")
	if err != nil {
		return err
	}
	for _, kind := range filters["type"] {
		if kind != "custom" && kind != "builtin" {
			return httpapi.Errorf(http.StatusBadRequest, "invalid filter: 'type'='%.100s'", kind)
		}
	}

	all, err := h.clients.Networks.ListNetworks(r.Context(), &networkv1.ListNetworksRequest{})
	if err != nil {
		return err
	}
	var containers []*containerv1.Container
	if dangling != nil || r.Version.Before(28) {
		if containers, err = h.running(r.Context()); err != nil {
			return err
		}
	}

	used := usedNetworks(containers)
	out := []any{}
	for _, n := range all.GetNetworks() {
		if matches(n, filters) && (dangling == nil || *dangling == (!n.GetPredefined() && !used[n.GetId()])) {
			out = append(out, networkdoc.SummaryFromProto(n, containers, r.Version))
		}
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}

// matches reports whether a network matches the filters, except whether it is used.
func matches(n *networkv1.Network, f httpapi.Filters) bool {
	kind := "custom"
	if n.GetPredefined() {
		kind = "builtin"
	}
	scope := cmp.Or(n.GetScope(), "local")
	return f.Exact("driver", n.GetDriver()) && f.Exact("type", kind) && f.Exact("scope", scope) &&
		f.Match("id", n.GetId()) && f.Match("name", n.GetName()) && f.Labels("label", n.GetLabels())
}

// usedNetworks returns the IDs of the networks of containers.
func usedNetworks(containers []*containerv1.Container) map[string]bool {
	used := map[string]bool{}
	for _, c := range containers {
		for _, e := range c.GetSandbox().GetEndpoints() {
			used[e.GetNetworkId()] = true
		}
	}
	return used
}

// Inspect serves GET /networks/{id}. There are no services of a swarm, so verbose changes nothing.
func (h *Handlers) Inspect(w http.ResponseWriter, r *httpapi.Request) error {
	got, err := h.clients.Networks.GetNetwork(r.Context(), &networkv1.GetNetworkRequest{Reference: r.Param("id")})
	if err != nil {
		return err
	}
	n := got.GetNetwork()
	if scope := r.Query("scope"); scope != "" && scope != cmp.Or(n.GetScope(), "local") {
		return httpapi.Errorf(http.StatusNotFound, "network %.200s not found", r.Param("id"))
	}

	containers, err := h.running(r.Context())
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, networkdoc.InspectFromProto(n, containers, r.Version))
}
