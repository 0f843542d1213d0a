package containers

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
	"github.com/fairlead/fairlead/services/engine/internal/translate/listing"
)

// List serves GET /containers/json.
func (h *Handlers) List(w http.ResponseWriter, r *httpapi.Request) error {
	limit, err := r.Int("limit", 0)
	if err != nil {
		return err
	}
	values, err := r.Filters(listing.Keys()...)
	if err != nil {
		return err
	}
	for _, key := range []string{"before", "since"} { // parameters of old clients
		if reference := r.Query(key); reference != "" {
			values[key] = append(values[key], reference)
		}
	}
	filter, err := listing.Parse(values)
	if err != nil {
		return err
	}
	if filter.Ancestors, err = h.imageIDs(r.Context(), values["ancestor"]); err != nil {
		return err
	}

	all := r.Bool("all") || limit > 0 || filter.AnyState()
	request := &containerv1.ListContainersRequest{All: all || filter.NeedsAll(), Summary: true}
	if !filter.NeedsAll() { // labels select most: the rest is not even sent
		for _, label := range values["label"] {
			request.Filters = append(request.Filters, "label="+label)
		}
	}
	list, err := h.all(r.Context(), request)
	if err != nil {
		return err
	}
	if list, err = filter.Select(list, all, max(limit, 0)); err != nil {
		return err
	}

	var sizes func(*containerv1.Container) *inspect.Sizes
	if r.Bool("size") {
		if sizes, err = h.sizes(r.Context()); err != nil {
			return err
		}
	}
	rows, now := make([]listing.Row, 0, len(list)), h.now()
	for _, c := range list {
		var size *inspect.Sizes
		if sizes != nil {
			size = sizes(c)
		}
		rows = append(rows, listing.FromProto(c, size, now, r.Version))
	}
	return httpapi.WriteJSON(w, http.StatusOK, rows)
}

// all returns all pages of a list, the newest container first.
func (h *Handlers) all(ctx context.Context, request *containerv1.ListContainersRequest) (
	list []*containerv1.Container, err error) {
	for {
		page, err := h.clients.Containers.ListContainers(ctx, request)
		if err != nil {
			return nil, err
		}
		list = append(list, page.GetContainers()...)
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return list, nil
		}
	}
}

// imageIDs returns the IDs of images. Unknown ones are omitted.
func (h *Handlers) imageIDs(ctx context.Context, references []string) (ids []string, err error) {
	for _, reference := range references {
		image, err := h.clients.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: reference})
		switch {
		case err == nil:
			ids = append(ids, image.GetImage().GetId())
		case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid):
			return nil, err
		}
	}
	return ids, nil
}

// sizes measures all containers, and returns the sizes of one.
func (h *Handlers) sizes(ctx context.Context) (func(*containerv1.Container) *inspect.Sizes, error) {
	usage, err := h.clients.Containers.GetDiskUsage(ctx, &containerv1.GetDiskUsageRequest{})
	if err != nil {
		return nil, err
	}
	byID := map[string]int64{}
	request := &containerv1.ListImagesRequest{}
	for more := true; more; more = request.GetPageToken() != "" {
		images, err := h.clients.Images.ListImages(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, image := range images.GetImages() {
			byID[image.GetId()] = image.GetSize()
		}
		request.PageToken = images.GetNextPageToken()
	}
	return func(c *containerv1.Container) *inspect.Sizes {
		writable := max(usage.GetContainers()[c.GetId()], 0)
		return &inspect.Sizes{Writable: writable, Root: writable + byID[c.GetImageId()]}
	}, nil
}
