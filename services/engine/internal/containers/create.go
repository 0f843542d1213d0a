package containers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
	"github.com/fairlead/fairlead/services/engine/internal/translate/create"
)

// Create serves POST /containers/create.
func (h *Handlers) Create(w http.ResponseWriter, r *httpapi.Request) error {
	text, err := r.Body(w)
	if err != nil {
		return err
	}
	body, err := create.Parse(text)
	if err != nil {
		return err
	}
	cfg, warnings, err := body.ToProto(create.Options{Name: strings.TrimPrefix(r.Query("name"), "/"),
		Platform: r.Query("platform"), Version: r.Version})
	if err != nil {
		return err
	}

	created, err := h.create(r.Context(), cfg)
	if fault.ReasonOf(err) == fault.ReasonNoSuchImage {
		return httpapi.Errorf(http.StatusNotFound, "No such image: %s", familiar(cfg.GetImage()))
	}
	if fault.Is(err, fault.NotFound) { // clients pull the image after a 404
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	if err != nil {
		return err
	}
	out := container.CreateResponse{ID: created.GetId(), Warnings: append(warnings, created.GetWarnings()...)}
	if out.Warnings == nil {
		out.Warnings = []string{}
	}
	return httpapi.WriteJSON(w, http.StatusCreated, out)
}

// create creates a container.
func (h *Handlers) create(ctx context.Context, cfg *containerv1.ContainerConfig) (*containerv1.Created, error) {
	stream, err := h.clients.Containers.CreateContainer(ctx, &containerv1.CreateContainerRequest{Config: cfg})
	if err != nil {
		return nil, err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, httpapi.Errorf(http.StatusInternalServerError, "the supervisor sent no result")
		}
		if err != nil {
			return nil, err
		}
		if created := response.GetCreated(); created != nil {
			return created, nil
		}
	}
}

// familiar returns the short name of an image with its tag, as in Docker's messages.
func familiar(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(reference.TagNameOnly(ref))
}
