package images

import (
	"context"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// listKeys are the keys of filters of lists.
var listKeys = []string{"dangling", "label", "label!", "before", "since", "reference", "until"}

// List serves GET /images/json.
func (h *Handlers) List(w http.ResponseWriter, r *httpapi.Request) error {
	filters, err := r.Filters(listKeys...)
	if err != nil {
		return err
	}
	if pattern := r.Query("filter"); pattern != "" && r.Version.Before(41) && len(filters["reference"]) == 0 {
		filters["reference"] = []string{pattern}
	}
	if r.Version.AtLeast(54) && r.Bool("identity") && !r.Bool("manifests") {
		return httpapi.Errorf(http.StatusBadRequest, "conflicting options: identity requires manifests=1")
	}

	images, err := h.list(r.Context(), filterTexts(filters))
	if err != nil {
		return err
	}
	usage, err := h.usage(r)
	if err != nil {
		return err
	}

	out := make([]any, len(images))
	for i, image := range images {
		out[i] = imagedoc.SummaryFromProto(image, r.Version, usage)
	}
	return httpapi.WriteJSON(w, http.StatusOK, out)
}

// filterTexts returns filters as KEY=VALUE.
func filterTexts(filters httpapi.Filters) (out []string) {
	for key, values := range filters {
		for _, value := range values {
			out = append(out, key+"="+value)
		}
	}
	return out
}

// list returns all pages of images.
func (h *Handlers) list(ctx context.Context, filters []string) (all []*containerv1.Image, err error) {
	req := &containerv1.ListImagesRequest{Filters: filters}
	for {
		page, err := h.clients.Images.ListImages(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetImages()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return all, nil
		}
	}
}

// usage returns what a list has only on request.
func (h *Handlers) usage(r *httpapi.Request) (u imagedoc.Usage, err error) {
	if r.Version.AtLeast(42) && r.Bool("shared-size") {
		df, err := h.clients.Containers.GetDiskUsage(r.Context(), &containerv1.GetDiskUsageRequest{})
		if err != nil {
			return u, err
		}
		if u.Shared = df.GetSharedLayers(); u.Shared == nil {
			u.Shared = map[string]int64{}
		}
	}

	if u.Manifests = r.Version.AtLeast(47) && r.Bool("manifests"); u.Manifests {
		u.Containers, err = h.users(r.Context())
	}
	return u, err
}

// users returns the IDs of containers by the image that they use.
func (h *Handlers) users(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	req := &containerv1.ListContainersRequest{All: true}
	for {
		page, err := h.clients.Containers.ListContainers(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, c := range page.GetContainers() {
			out[c.GetImageId()] = append(out[c.GetImageId()], c.GetId())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return out, nil
		}
	}
}
