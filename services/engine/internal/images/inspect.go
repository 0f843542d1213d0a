package images

import (
	"net/http"

	"github.com/moby/moby/api/types/image"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Inspect serves GET /images/{name}/json.
func (h *Handlers) Inspect(w http.ResponseWriter, r *httpapi.Request) error {
	platform, err := platform(r, 49)
	if err != nil {
		return err
	}
	manifests := r.Version.AtLeast(48) && r.Bool("manifests")
	if manifests && platform != "" {
		return httpapi.Errorf(http.StatusBadRequest,
			"conflicting options: manifests and platform options cannot both be set")
	}

	got, err := h.clients.Images.GetImage(r.Context(),
		&containerv1.GetImageRequest{Reference: r.Param("name"), Platform: platform})
	if err != nil {
		return err
	}
	out, err := imagedoc.InspectFromProto(got.GetImage(), r.Version, manifests)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}

// History serves GET /images/{name}/history.
func (h *Handlers) History(w http.ResponseWriter, r *httpapi.Request) error {
	platform, err := platform(r, 48)
	if err != nil {
		return err
	}
	got, err := h.clients.Images.GetImageHistory(r.Context(),
		&containerv1.GetImageHistoryRequest{Reference: r.Param("name"), Platform: platform})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, imagedoc.HistoryFromProto(got.GetHistory()))
}

// Attestations serves GET /images/{name}/attestations. The agent does not keep attestations.
func (h *Handlers) Attestations(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := h.clients.Images.GetImage(r.Context(),
		&containerv1.GetImageRequest{Reference: r.Param("name")}); err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, []image.AttestationStatement{})
}

// Tag serves POST /images/{name}/tag.
func (h *Handlers) Tag(w http.ResponseWriter, r *httpapi.Request) error {
	tag, err := referenceOf(r.Query("repo"), r.Query("tag"))
	if err != nil {
		return err
	}
	if _, err := h.clients.Images.TagImage(r.Context(),
		&containerv1.TagImageRequest{Reference: r.Param("name"), Tag: tag}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// Distribution serves GET /distribution/{name}/json.
func (h *Handlers) Distribution(w http.ResponseWriter, r *httpapi.Request) error {
	ref, err := referenceOf(r.Param("name"), "")
	if err != nil {
		return err
	}
	got, err := h.clients.Images.GetRemoteImage(r.Context(),
		&containerv1.GetRemoteImageRequest{Reference: ref, Credentials: credentials(r)})
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, imagedoc.DistributionFromProto(got))
}
