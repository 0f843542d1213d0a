package system

import (
	"context"
	"net/http"
	"slices"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/usage"
)

// objects are the values of the parameter type, which version 1.42 introduced.
var objects = []string{"container", "image", "volume", "build-cache"}

// DiskUsage serves GET /system/df.
func (h *Handlers) DiskUsage(w http.ResponseWriter, r *httpapi.Request) error {
	wanted := r.URL.Query()["type"]
	for _, kind := range wanted {
		if !slices.Contains(objects, kind) {
			return httpapi.Errorf(http.StatusBadRequest, "unknown object type: %.100s", kind)
		}
	}
	if len(wanted) == 0 || r.Version.Before(42) {
		wanted = objects
	}
	host, err := h.diskUsage(r.Context())
	if err == nil && slices.Contains(wanted, "build-cache") {
		host.BuildCache, err = h.cache(r.Context())
	}
	if err != nil {
		return err
	}
	verbose := r.Version.AtLeast(52) && r.Bool("verbose")
	return httpapi.WriteJSON(w, http.StatusOK, usage.FromProto(host, wanted, verbose, h.now(), r.Version))
}

// diskUsage returns all objects with their sizes.
func (h *Handlers) diskUsage(ctx context.Context) (host usage.Host, err error) {
	if host.Usage, err = h.clients.Containers.GetDiskUsage(ctx, &containerv1.GetDiskUsageRequest{}); err != nil {
		return host, err
	}
	containers := &containerv1.ListContainersRequest{All: true}
	for more := true; more; more = containers.GetPageToken() != "" {
		page, err := h.clients.Containers.ListContainers(ctx, containers)
		if err != nil {
			return host, err
		}
		host.Containers = append(host.Containers, page.GetContainers()...)
		containers.PageToken = page.GetNextPageToken()
	}
	images := &containerv1.ListImagesRequest{}
	for more := true; more; more = images.GetPageToken() != "" {
		page, err := h.clients.Images.ListImages(ctx, images)
		if err != nil {
			return host, err
		}
		host.Images = append(host.Images, page.GetImages()...)
		images.PageToken = page.GetNextPageToken()
	}
	volumes := &containerv1.ListVolumesRequest{}
	for more := true; more; more = volumes.GetPageToken() != "" {
		page, err := h.clients.Volumes.ListVolumes(ctx, volumes)
		if err != nil {
			return host, err
		}
		host.Volumes = append(host.Volumes, page.GetVolumes()...)
		volumes.PageToken = page.GetNextPageToken()
	}
	return host, nil
}
