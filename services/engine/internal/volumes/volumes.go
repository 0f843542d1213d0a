// Package volumes has the handlers of operations on volumes.
package volumes

import (
	"net/http"

	"github.com/moby/moby/api/types/volume"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/peers"
	"github.com/fairlead/fairlead/services/engine/internal/translate/volumedoc"
)

// Handlers are the handlers.
type Handlers struct{ clients peers.Clients }

// New returns the handlers.
func New(clients peers.Clients) *Handlers { return &Handlers{clients} }

// Operations returns the operations.
func (h *Handlers) Operations() []httpapi.Operation {
	return []httpapi.Operation{
		{Method: http.MethodGet, Path: "/volumes", Handle: h.List},
		{Method: http.MethodPost, Path: "/volumes/create", Handle: h.Create},
		{Method: http.MethodPost, Path: "/volumes/prune", Handle: h.Prune, Since: apiversion.V(25)},
		{Method: http.MethodGet, Path: "/volumes/{name}", Handle: h.Inspect},
		{Method: http.MethodPut, Path: "/volumes/{name}", Handle: h.Update, Since: apiversion.V(42)},
		{Method: http.MethodDelete, Path: "/volumes/{name}", Handle: h.Remove},
	}
}

// List serves GET /volumes.
func (h *Handlers) List(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("dangling", "driver", "label", "name")
	if err != nil {
		return err
	}
	dangling, err := filters.Bool("dangling")
	if err != nil {
		return err
	}

	out := volume.ListResponse{Volumes: []volume.Volume{}}
	req := &containerv1.ListVolumesRequest{}
	for {
		page, err := h.clients.Volumes.ListVolumes(r.Context(), req)
		if err != nil {
			return err
		}
		for _, v := range page.GetVolumes() {
			if matches(v, filters) && (dangling == nil || *dangling == (len(v.GetContainers()) == 0)) {
				out.Volumes = append(out.Volumes, volumedoc.VolumeFromProto(v))
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return httpapi.WriteJSON(w, http.StatusOK, out)
		}
	}
}

// matches reports whether a volume matches the filters, except whether it is used.
func matches(v *containerv1.Volume, f httpapi.Filters) bool {
	return f.Exact("driver", v.GetDriver()) && f.Match("name", v.GetName()) && f.Labels("label", v.GetLabels())
}

// Inspect serves GET /volumes/{name}.
func (h *Handlers) Inspect(w http.ResponseWriter, r *httpapi.Request) error {
	got, err := h.clients.Volumes.GetVolume(r.Context(), &containerv1.GetVolumeRequest{Name: r.Param("name")})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, volumedoc.VolumeFromProto(got.GetVolume()))
}

// Create serves POST /volumes/create.
func (h *Handlers) Create(w http.ResponseWriter, r *httpapi.Request) error {
	var req volume.CreateRequest
	if err := r.Decode(w, &req); err != nil {
		return err
	}
	if req.ClusterVolumeSpec != nil {
		return errNoSwarm()
	}

	created, err := h.clients.Volumes.CreateVolume(r.Context(), volumedoc.CreateToProto(req))
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusCreated, volumedoc.VolumeFromProto(created.GetVolume()))
}

// Update serves PUT /volumes/{name}, which is for volumes of a swarm only.
func (h *Handlers) Update(http.ResponseWriter, *httpapi.Request) error { return errNoSwarm() }

func errNoSwarm() error {
	return httpapi.Errorf(http.StatusServiceUnavailable,
		"volume update only valid for cluster volumes, but swarm is unavailable")
}

// Remove serves DELETE /volumes/{name}.
func (h *Handlers) Remove(w http.ResponseWriter, r *httpapi.Request) error {
	_, err := h.clients.Volumes.RemoveVolume(r.Context(), &containerv1.RemoveVolumeRequest{Name: r.Param("name")})
	if err != nil && !(r.Bool("force") && fault.Is(err, fault.NotFound)) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Prune serves POST /volumes/prune. Before 1.42 it removes named volumes too.
func (h *Handlers) Prune(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters("all", "label", "label!")
	if err != nil {
		return err
	}
	all, err := filters.Bool("all")
	if err != nil {
		return err
	}

	pruned, err := h.clients.Volumes.PruneVolumes(r.Context(), &containerv1.PruneVolumesRequest{
		All: r.Version.Before(42) || all != nil && *all, Labels: filters["label"], ExcludeLabels: filters["label!"]})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, volume.PruneReport{VolumesDeleted: pruned.GetDeleted(),
		SpaceReclaimed: uint64(pruned.GetReclaimed())})
}
