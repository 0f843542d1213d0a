package containers

import (
	"context"
	"net/http"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/inspect"
)

// Inspect serves GET /containers/{name}/json.
func (h *Handlers) Inspect(w http.ResponseWriter, r *httpapi.Request) error {
	c, err := h.get(r.Context(), r.Name())
	if err != nil {
		return err
	}
	var size *inspect.Sizes
	if r.Bool("size") {
		sizes, err := h.sizes(r.Context())
		if err != nil {
			return err
		}
		size = sizes(c)
	}
	return httpapi.WriteJSON(w, http.StatusOK, inspect.FromProto(c, h.defaults(r.Context(), c), size, r.Version))
}

// defaults returns the image of a container if its configuration lacks what the image has. It is nil if
// the image was removed.
func (h *Handlers) defaults(ctx context.Context, c *containerv1.Container) *containerv1.Image {
	if len(c.GetConfig().GetEntrypoint()) > 0 {
		return nil
	}
	image, err := h.clients.Images.GetImage(ctx, &containerv1.GetImageRequest{Reference: c.GetImageId()})
	if err != nil {
		return nil
	}
	return image.GetImage()
}
